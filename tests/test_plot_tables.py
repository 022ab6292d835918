"""What `dvc metrics` and `dvc plots` read: small tables, in points of 100."""

import csv
import re

from small_project import ROOT

from vrft_core.evaluation.headline import headline
from vrft_core.report import plots
from vrft_core.report.plots import HEADS, MOST_BARS, Plot, by_part, learning, reliability

TRAINING = {
    "sft": {"log": [{"step": 1, "loss": 2.0}], "validation": [{"step": 0, "score": None}, {"step": 1, "score": 0.25}]},
    "rft": {
        "log": [{"step": 1, "loss": 0.5, "reward": 1.5, "rewards/name/mean": 0.75}, {"step": 2, "loss": 0.25}],
        "validation": [{"step": 1, "score": 0.5}],
        "validation_metric": "right",
    },
}


def table(path) -> list[dict]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_a_headline_is_a_number_with_its_interval_and_what_it_is():
    found = headline("AP of something", {"value": 0.43967, "low": 0.4185, "high": None})

    assert found == {"metric": "AP of something", "points": 43.97, "points from": 41.85, "points to": None}
    assert list(found) == sorted(found), "DVC sorts columns: the number must stand before its interval"


def test_learning_curves_hold_what_was_logged_and_nothing_else(tmp_path):
    plots.write(tmp_path, learning(TRAINING))

    validation, reward, loss = (table(tmp_path / f"lines/{name}.csv") for name in ("validation", "reward", "loss"))
    assert [(row["series"], row["x"], row["y"]) for row in validation] == [("SFT", "1", "25"), ("RFT", "1", "50")]
    assert "right" in validation[0]["about"]
    assert [(row["series"], row["x"], row["y"]) for row in reward] == [("total", "1", "1.5"), ("name", "1", "0.75")]
    assert [(row["series"], row["y"]) for row in loss] == [("SFT", "2"), ("RFT", "0.5"), ("RFT", "0.25")]
    assert list((tmp_path / "bars").iterdir()) == []


def test_points_of_a_reliability_diagram_rest_on_enough_answers():
    bins = [
        {"low": 0.0, "high": 0.5, "boxes": 9, "confidence": 0.2, "precision": 0.1},
        {"low": 0.5, "high": 1.0, "boxes": 10, "confidence": 0.75, "precision": 0.5},
    ]
    rows = reliability("confidence", "right", {"rft": bins}).rows

    assert [row[1:] for row in rows if row[1] != "calibrated"] == [("RFT", 75.0, 50.0)]


def test_of_many_parts_those_are_kept_that_differ_most():
    parts = {f"part {n:03}": {"base": 0.0, "sft": 0.0, "rft": n / 1000} for n in range(MOST_BARS + 5)}
    found = by_part("parts", "share, by part", parts)

    assert {row[2] for row in found.rows} == {f"part {n:03}" for n in range(5, MOST_BARS + 5)}
    assert f"of {MOST_BARS + 5}" in found.rows[0][0]


def test_names_cannot_end_the_script_of_dvcs_page_and_old_tables_go(tmp_path):
    plots.write(tmp_path, [Plot("old", "bars", [("a", "b", "c", 1.0)])])
    plots.write(
        tmp_path, [Plot("new", "bars", [("about", "RFT", '</script>,"x"', 1 / 3), ("about", "SFT", "y", None)])]
    )

    assert [path.name for path in (tmp_path / "bars").iterdir()] == ["new.csv"]
    [row] = table(tmp_path / "bars/new.csv")
    assert tuple(row) == HEADS["bars"] and row["part"] == '‹/script›,"x"' and row["points"] == "0.333333"


def test_templates_draw_the_columns_that_the_tables_have():
    for kind, (about, series, *axes) in HEADS.items():
        text = (ROOT / f".dvc/plots/vrft_{kind}.json").read_text(encoding="utf-8")
        fields = set(re.findall(r'"field": "([^"]+)"', text))
        assert fields == {about, series, "rev", "<DVC_METRIC_X>", "<DVC_METRIC_Y>"} and axes
