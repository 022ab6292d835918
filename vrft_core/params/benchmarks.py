"""Benchmarks: a task on data, and where the data come from."""

from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from vrft_core.names import Frequency, Name, TaskName
from vrft_core.params.common import Natural, Positive, Share, Strict

Kind = Literal["embedded", "official", "own"]


class Files(Strict):
    """One annotated split on disk; paths are relative to the project root or absolute.

    `sha256` is that of the annotation file: a change in it is noticed, and taken over by `vrft update`.
    """

    annotations: str
    images: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Folder(Strict):
    """A folder of labelled images; its path is relative to the project root or absolute.

    `format`: one of `sources.formats`. `sha256`: over its images and label files, see `sources.folders`.
    """

    path: str
    format: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SplitSizes(Strict):
    train: Positive
    val: Positive
    eval: Positive


class Scenes(Strict):
    """The embedded source: drawn scenes (`sources/scenes`)."""

    image_size: Positive
    images: SplitSizes
    max_objects: Positive
    same_category: Share
    glyphs: Annotated[int, Field(ge=1, le=3)]
    categories: dict[Frequency, list[str]]
    seed: Natural


class IconScenes(Strict):
    """The embedded source of a classification benchmark: names of `icons.csv` by their frequency in train."""

    image_size: Positive
    images: SplitSizes
    categories: dict[Frequency, list[str]]
    seed: Natural

    @property
    def names(self) -> list[str]:
        """The most frequent first."""
        return [name for band in ("f", "c", "r") for name in self.categories.get(band, [])]


class PhraseScenes(Strict):
    """The embedded source of a grounding benchmark: names of `definitions.csv`, questions an image."""

    image_size: Positive
    images: SplitSizes
    categories: list[str]
    expressions: Annotated[int, Field(ge=1, le=10)]  # an image, each of another kind
    absent: Share  # of all expressions: those without a target
    seed: Natural

    @model_validator(mode="after")
    def _at_most_one_absent(self):
        if self.expressions * self.absent > 1:
            raise ValueError("expressions × absent: at most 1, as at most one expression an image is without a target")
        return self


Embedded = Scenes | IconScenes | PhraseScenes


class Benchmark(Strict):
    """A task and its data: an official source, an embedded one, both, or one's own (`folder`, or `train` and `eval`).

    `categories` names what is sampled, trained on and evaluated; without it the recipe's `few_shot.frequencies` decide
    what is sampled, and everything is evaluated. `taught`: what is sampled and trained on where that is something
    else, as in an open vocabulary; `all`: every category, however many images show it. `expect`: images of a split,
    and the number of categories, as the protocol has them.
    `subject`: what every image shows, as a question names it, such as plant, aircraft, car.
    """

    task: TaskName
    official: Name | None = None
    settings: dict[str, Any] = Field(default_factory=dict)  # of the official source, see its module
    embedded: Embedded | None = None
    train: Files | None = None
    eval: Files | None = None
    folder: Folder | None = None
    subject: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z -]{0,39}$")] | None = None
    categories: Annotated[list[str], Field(min_length=1)] | None = None  # only these are sampled and evaluated
    taught: Literal["all"] | Annotated[list[str], Field(min_length=1)] | None = None
    expect: dict[Literal["train", "val", "eval", "categories"], Positive] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_origin(self):
        if (self.train is None) != (self.eval is None):
            raise ValueError("give both `train` and `eval`, or neither")
        if self.train and (self.official or self.embedded):
            raise ValueError("`train` and `eval` are files of your own: leave out `official` and `embedded`")
        if self.folder and (self.train or self.official or self.embedded):
            raise ValueError("`folder` is data of your own: leave out `train`, `eval`, `official` and `embedded`")
        if not (self.train or self.folder or self.official or self.embedded):
            raise ValueError("names no data: give `official`, `embedded` or both, or `folder`, or `train` and `eval`")
        return self

    @property
    def sampled(self) -> list[str] | Literal["all"] | None:
        """Names of the categories with few-shot examples, or all; None: the recipe decides."""
        return self.taught or self.categories

    @property
    def published(self) -> bool:
        """Whether the training images are a few-shot set that its authors chose."""
        return self.official == "virft"

    def kind(self, wanted: str) -> Kind | None:
        """Which data a recipe with `data: <wanted>` gets; None where the benchmark has none of that kind."""
        if self.train or self.folder:
            return "own"
        return cast(Kind, wanted) if getattr(self, wanted) else None
