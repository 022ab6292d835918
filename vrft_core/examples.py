"""Examples on disk: parquet that `datasets.load_dataset` reads. Which examples there are is for the tasks to say."""

from collections.abc import Iterable
from pathlib import Path

from datasets import Dataset, Features, Image, Value
from datasets.utils.typing import PathLike
from pyarrow.parquet import read_metadata

from vrft_core.errors import InputError
from vrft_core.images import embeddable
from vrft_core.tasks.task import Example

_TEXT = Value("string")
FEATURES = Features(
    {
        "id": _TEXT,
        "image_id": Value("int64"),
        "image": Image(),
        "width": Value("int32"),
        "height": Value("int32"),
        "label": _TEXT,
        "question": _TEXT,
        "answer": _TEXT,
        "truth": _TEXT,
    }
)


def write_examples(directory: Path, examples: Iterable[Example]) -> None:
    """One parquet file in a new directory; images are embedded as any reader shows them."""
    rows = [
        {**{name: getattr(one, name) for name in FEATURES if name != "image"}, "image": _embedded(one)}
        for one in examples
    ]
    directory.mkdir()
    columns = {name: [row[name] for row in rows] for name in FEATURES}  # of no rows, too, there are columns
    Dataset.from_dict(columns, features=FEATURES).to_parquet(directory / "data.parquet")


def _embedded(example: Example) -> object:
    path = example.image
    if not isinstance(path, Path):
        return path
    return {"bytes": embeddable(path, (example.width, example.height)), "path": path.name}


def load_examples(directory: Path, may_be_empty: bool = False) -> Dataset:
    """The parquet rows of `train` or `val`. Raises InputError when there are none or a column is missing."""
    files: list[PathLike] = [*sorted(str(path) for path in Path(directory).glob("*.parquet"))]
    if not files:
        raise InputError(directory, "no examples (*.parquet)", "run the stage `prompts` first")
    if not any(read_metadata(file).num_rows for file in files):  # of such, `datasets` makes nothing
        if not may_be_empty:
            raise InputError(directory, "no rows", "is there any image with the sampled categories in this split?")
        return Dataset.from_dict({name: [] for name in FEATURES}, features=FEATURES)
    rows = Dataset.from_parquet(files)
    if missing := [name for name in FEATURES if name not in rows.column_names]:
        raise InputError(directory, f"no column {missing[0]!r}", "run the stage `prompts` again")
    return rows.cast_column("image", Image(mode="RGB"))


def in_memory(examples: Dataset) -> list[Example]:
    """The rows as examples, each with its image."""
    return [Example(**{name: row[name] for name in FEATURES}) for row in examples]
