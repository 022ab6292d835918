"""Images of a few classes, answers about them, and what the task measures of those."""

from small_project import ROOT

from vrft_core.annotations import Annotations
from vrft_core.params import IconScenes
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.classification.answers import agree
from vrft_core.tasks.classification.metrics import scores
from vrft_core.tasks.classification.settings import Settings

TASK = get_task("classification")
PARAMS = load_params(ROOT / "params.yaml")
RECIPE, ANIMALS = PARAMS.recipes["mini"], PARAMS.benchmarks["icons"]
REWARDS = {"accuracy": 1.0, "format": 1.0}
CLASSES = {"cow": ["beef"], "bull": ["ox"], "domestic_ass": ["donkey"], "tiger": []}  # ids from 1
SCENES = IconScenes(
    image_size=112,
    images={"train": 260, "val": 8, "eval": 16},
    categories={"f": ["cow"], "c": ["bull", "domestic_ass"], "r": ["water_buffalo"]},
    seed=0,
)


def settings(**changes) -> Settings:
    return Settings(rewards=REWARDS, **changes)


def shown(*classes: str) -> Annotations:
    """Image 1 shows the first class, image 2 the second, and so on."""
    ids = {name: number for number, name in enumerate(CLASSES, 1)}
    return Annotations.from_dict(
        {
            "images": [
                {"id": n, "width": 112, "height": 112, "file_name": f"{n}.png"} for n, _ in enumerate(classes, 1)
            ],
            "annotations": [{"id": n, "image_id": n, "category_id": ids[c]} for n, c in enumerate(classes, 1)],
            "categories": [
                {"id": ids[name], "name": name, "synonyms": [name, *more], "frequency": "c"}
                for name, more in CLASSES.items()
            ],
        }
    )


def rows(truth: Annotations, *said: str, drawn: list[list[str]] | None = None) -> list[dict]:
    """An answer an image, in order."""
    found = []
    for number, (image, name) in enumerate(zip(truth.images, said, strict=True)):
        [category] = truth.category_ids(image)
        row = {
            "id": f"{image}-{category}", "image_id": image, "category_id": category, "completion": "", "said": name,
            "published": name, "certainty": 0.5, "reasons": [] if name else ["empty_answer"], "tokens": 5,
        }  # fmt: skip
        if drawn:
            agree(row, [{"said": one} for one in drawn[number]])
        found.append(row)
    return found


def values(truth: Annotations, answers: list[dict], taught=(), **changes) -> dict[str, float]:
    found = scores(truth, answers, sorted(truth.categories), settings(**changes), taught)
    return dict(zip([metric.name for metric in found.metrics], found.values().tolist(), strict=True))
