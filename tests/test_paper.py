"""The paper's tables as data: what is printed there, where it disagrees with itself, and a report beside it."""

from pathlib import Path

import pytest
from plausible_results import plausible_project

from vrft_core import io
from vrft_core.commands import paper as commands_paper
from vrft_core.params import Policy
from vrft_core.report import paper
from vrft_core.report.page import cell_page
from vrft_core.report.panel import Inputs
from vrft_core.stages import run_stage
from vrft_core.tasks import get_task, load_params

POLICY = {"family": "qwen2-vl", "coordinate_step": 1, "min_pixels": 1, "max_pixels": 1}
COCO = ["bus", "train", "fire hydrant", "stop sign", "cat", "dog", "bed", "toilet"]


def entry(value: float, spread: float = 0.02) -> dict:
    return {"value": value, "low": value - spread, "high": value + spread}


def results(metric: str = "coco/oracle/AP") -> dict:
    return {
        "models": {"base": {metric: entry(0.2)}, "sft": {metric: entry(0.3)}, "rft": {metric: entry(0.41)}},
        "differences": {"rft-base": {metric: entry(0.21)}, "sft-base": {metric: entry(0.1)}},
    }


def test_every_table_has_its_rows_and_every_row_its_cells():
    tables = {one["table"]: one for one in paper.load()["tables"]}
    assert {number: (len(one["rows"]), len(one["columns"])) for number, one in tables.items()} == {
        2: (11, 5), 3: (14, 9), 4: (6, 7), 5: (5, 6), 6: (9, 3), 7: (6, 3), 8: (7, 14),
    }  # fmt: skip
    for table in tables.values():
        keys = [(row["policy"], row["method"], row["shots"]) for row in table["rows"]]
        assert len(set(keys)) == len(keys)
        for row in table["rows"]:
            assert len(row["values"]) == len(table["columns"])
            assert all(0 <= value <= 100 for value in row["values"])


def test_cells_are_found_by_policy_method_and_shots_and_the_untouched_policy_has_one_row_for_all():
    assert paper.cells(3, "qwen2-vl-2b", "rft", 2)["mAP"] == 41.5
    assert paper.cells(3, "qwen2-vl-7b", "base", 4)["toilet"] == 47.1
    assert paper.cells(8, "qwen2-vl-2b", "rft", None)["sugar_bowl"] == 40.2
    assert paper.cells(3, "qwen2-vl-7b", "rft", 2) is None


def test_means_gains_and_claims_disagree_exactly_where_the_list_says():
    listed = {
        (one["table"], one["policy"], one["shots"], one["method"], tuple(one["columns"]), one["kind"])
        for one in paper.load()["inconsistencies"]
    }
    found = paper.inconsistencies()
    assert len(found) == len(listed) == 8
    assert set(found) == listed


def test_the_claims_are_what_the_tables_give():
    claims = {one["claim"]: one for one in paper.load()["gains"] if "claim" in one}
    assert sorted(one["value"] for one in claims.values()) == [15.4, 18.0, 21.9, 24.3]
    for one in claims.values():
        place = one["table"], one["policy"]
        after, before = (paper.cells(*place, m, one["shots"])[one["column"]] for m in ("rft", "base"))
        assert after - before == pytest.approx(one["value"])


def test_a_report_stands_beside_its_row_with_gains_claims_and_caveats():
    found = paper.compare(results(), COCO, "coco", "qwen2-vl-2b", 2)
    assert (found["table"], found["metric"], found["paper_metric"]) == (3, "coco/oracle/AP", "coco/map/AP")
    assert [(row["label"], row["paper"], row["inside"]) for row in found["rows"]] == [
        ("base", 19.6, True),
        ("sft", 21.0, False),
        ("rft", 41.5, True),
        ("sft-base", 1.4, False),
        ("rft-base", 21.9, True),
    ]
    assert found["rows"][2]["here"] == pytest.approx({"value": 41, "low": 39, "high": 43})
    assert [(one["paper"], one["inside"]) for one in found["claims"]] == [(21.9, True)]
    assert len(found["notes"]) == 1 and "presence map" in found["notes"][0]


def test_a_papers_inconsistency_is_noted_on_the_rows_it_concerns():
    found = paper.compare(results("lvis/oracle/AP"), ["horse_buggy"], "lvis-rare", "qwen2-vl-7b", 10)
    assert "other categories" in found["notes"][0]
    assert any("average 33.1" in note for note in found["notes"])
    assert any("no target to aim at" in note for note in found["notes"])
    assert not any("28.8" in note for note in found["notes"])  # that one is the 2B policy's


def test_a_metric_that_was_not_measured_decides_nothing():
    found = paper.compare(results("lvis/oracle/AP"), COCO, "coco", "qwen2-vl-2b", 2)
    assert all(row["inside"] is None for row in found["rows"])


@pytest.mark.parametrize(
    ("benchmark", "policy", "shots"),
    [("coco", None, 2), ("coco", "qwen2-vl-2b", 3), ("lvis", "qwen2-vl-2b", 1), ("mine", "qwen2-vl-2b", 1)],
)
def test_what_the_paper_did_not_measure_has_no_row(benchmark, policy, shots):
    assert paper.compare(results(), COCO, benchmark, policy, shots) is None


def test_every_cell_of_the_papers_tables_stands_beside_a_row():
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    for table, rows in commands_paper.TABLES.items():
        for benchmark, recipe, shots in rows:
            for count in shots:
                policy = paper.policy_name(params.recipes[recipe].policy)
                found = paper.compare(results(), COCO, benchmark, policy, count)
                assert found and found["table"] == table, (benchmark, recipe, count)


def test_novel_categories_of_the_paper_stand_beside_untaught_ones_here():
    found = paper.compare(results("coco/oracle/APuntaught"), COCO, "coco-ovd", "qwen2-vl-2b", 92)
    assert (found["metric"], found["rows"][0]["paper"]) == ("coco/oracle/APuntaught", 9.8)
    assert found["rows"][0]["here"]["value"] == pytest.approx(20)


def test_a_policy_is_known_by_its_repository():
    hub = {"repo": "Qwen/Qwen2-VL-2B-Instruct", "revision": "0" * 40}
    assert paper.policy_name(Policy(**POLICY, hub=hub)) == "qwen2-vl-2b"


@pytest.mark.slow
def test_the_page_has_the_section_only_where_there_is_a_row(tmp_path):
    layout, params = plausible_project(tmp_path)
    cell = params.cells()[0]
    run_stage("report", layout, params, cell)
    page = (layout.report(cell) / "report.html").read_text(encoding="utf-8")
    assert "Beside the paper" not in page
    made = io.read_json(layout.report(cell) / "metrics.json")
    assert made["paper"] is None
    made["paper"] = paper.compare(results(), COCO, "coco", "qwen2-vl-2b", 2)
    page = cell_page(made, Inputs.read(layout, params, cell, get_task("detection")), layout.raw(cell) / "images")
    assert "Beside the paper" in page
    assert "Two-shot detection on COCO gains 21.9 points (abstract)." in page
