"""Prediction rows → named metrics with intervals, under both protocols.

The definitions belong to `matching` and `average_precision`; here they get their names.
"""

from collections.abc import Sequence

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.evaluation.average_precision import Matches
from vrft_core.evaluation.bootstrap import bootstrap
from vrft_core.evaluation.matching import match
from vrft_core.evaluation.ranking import by_truth, ranked

PROTOCOLS = ("lvis", "coco")
SEED = 0  # of the resamples; the same for every model, so that differences are paired


def metric_name(protocol: str, presence: str, metric: str) -> str:
    """`lvis/oracle/AP`: how boxes are counted, how it was decided what to ask (`queries`), what is measured."""
    return f"{protocol}/{presence}/{metric}"


def metric_title(name: str) -> str:
    """`lvis/oracle/AP` → LVIS AP (oracle presence)"""
    protocol, presence, metric = name.split("/")
    return f"{protocol.upper()} {metric} ({presence} presence)"


def match_rows(
    truth: Annotations, rows: list[dict], categories: list[int], protocols: Sequence[str] = PROTOCOLS
) -> dict[str, Matches]:
    """Match `predict`'s rows once under each protocol."""
    found = [detection for row in rows for detection in detections(row)]
    return {protocol: match(truth, found, protocol, categories) for protocol in protocols}


def detections(row: dict) -> list[dict]:
    """The boxes of one of `predict`'s rows as COCO results."""
    return [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": value,
        }
        for (x1, y1, x2, y2), value in zip(row["boxes"], row["scores"], strict=True)
    ]


def score(
    truth: Annotations, rows: list[dict], categories: list[int], resamples: int, presence: str, ranking: str = "stated"
) -> dict:
    """Metrics of boxes ranked by `ranking`, and AP by every other ranking the rows hold.

    `presence` is the protocol by which the rows were asked for. → {"metrics": {"lvis/oracle/AP": {"value", "low",
    "high"}, …}, "per_category": {name: {"AP", "frequency", "boxes"}}, "presence", "ranking",
    "ranked_by": {"stated": {"lvis/oracle/AP": {…}, "coco/oracle/AP": {…}}, …, "oracle": {…}}}.
    Values lie in [0, 1], with 95 % percentile intervals over images; None where nothing can be measured.
    """
    matches = {name: match_rows(truth, ordered, categories) for name, ordered in rankings(rows, truth).items()}
    if ranking not in matches:
        ranked(rows, ranking)  # says why it cannot be done
    ranked_by = {name: {} for name in matches}
    metrics = {}
    for protocol in PROTOCOLS:
        found = bootstrap({name: each[protocol] for name, each in matches.items()}, resamples, SEED)["models"]
        metrics |= {metric_name(protocol, presence, name): entry for name, entry in found[ranking].items()}
        for name, values in found.items():
            ranked_by[name][metric_name(protocol, presence, "AP")] = values["AP"]
    lvis = matches[ranking]["lvis"]
    boxes = np.bincount(lvis.truth_category, minlength=len(lvis.categories)).tolist()
    rows_of = zip(lvis.average_precision()["per_category"].items(), lvis.categories, boxes, strict=True)
    per_category = {
        name: {"AP": value, "frequency": category["frequency"], "boxes": count}
        for (name, value), category, count in rows_of
    }
    return {
        "metrics": metrics,
        "per_category": per_category,
        "presence": presence,
        "ranking": ranking,
        "ranked_by": ranked_by,
    }


def rankings(rows: list[dict], truth: Annotations) -> dict[str, list[dict]]:
    """Name → rows with that ranking's scores: the stated confidence, what the rows hold beside it, and the truth's."""
    held = list(rows[0].get("rankings", {})) if rows else []
    return {name: ranked(rows, name) for name in ("stated", *held)} | {"oracle": by_truth(rows, truth)}
