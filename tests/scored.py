"""Small scores of every kind of metric, and the 95 % interval of one model or one difference."""

from statistics import NormalDist

import numpy as np

from vrft_core.evaluation.intervals import intervals
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores
from vrft_core.tasks.detection.metrics.matching import match

Z = NormalDist().inv_cdf(0.975)
ACCURACY = MetricSpec("accuracy", "Accuracy", "share")
OVERLAP = MetricSpec("mIoU", "Mean IoU", "mean")
PER_CLASS = MetricSpec("accuracy by class", "Accuracy averaged over classes", "macro")


def scores(metric: MetricSpec, values, images=None, below=None, parts=None) -> RatioScores:
    return RatioScores.of([metric], [values], [np.ones(len(values)) if below is None else below], images, parts)


def of_one(one, halves: int = 100) -> dict:
    (entry,) = intervals({"rft": one}, halves, seed=0)["models"]["rft"].values()
    return entry


def difference(a, b, halves: int = 100) -> dict:
    (entry,) = intervals({"rft": a, "sft": b}, halves, seed=0)["differences"]["rft-sft"].values()
    return entry


def ends(entry: dict) -> list[float]:
    return [entry["low"], entry["high"]]


def detector(seed: int, images: int = 30, protocol: str = "lvis", shift: float = 0.1):
    """Matches of one to three objects an image, of four categories, with jittered and invented boxes."""
    rng = np.random.default_rng(0)
    truth = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": k, "name": f"thing {k}", "frequency": "rfcf"[k]} for k in range(4)]
    noise, found = np.random.default_rng([seed, 1]), []
    for image in range(images):
        truth["images"].append({"id": image, "neg_category_ids": [], "not_exhaustive_category_ids": []})
        for _ in range(rng.integers(1, 4)):
            box, category = [*rng.uniform(0, 200, 2), *rng.uniform(40, 90, 2)], int(rng.integers(4))
            row = {"id": len(truth["annotations"]) + 1, "image_id": image, "category_id": category, "bbox": box}
            truth["annotations"].append(row | {"area": box[2] * box[3], "iscrowd": 0})
            moved = (np.array(box) + noise.normal(0, shift, 4) * 60).tolist()
            found.append({"image_id": image, "category_id": category, "bbox": moved, "score": noise.random()})
    return match(truth, found, protocol)


def detection(seed: int = 0, names=("lvis/AP", "lvis/AP50", "lvis/APr"), **options) -> DetectionScores:
    return DetectionScores({"lvis": detector(seed, **options)}, names)


def logistic(value: float, half: float) -> list[float]:
    return [1 / (1 + np.exp(-(np.log(value / (1 - value)) + sign * half / (value * (1 - value))))) for sign in (-1, 1)]
