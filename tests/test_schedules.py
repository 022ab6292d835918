"""The night shift: a model that has become worse is seen in the morning, one that has not is left in peace."""

import datetime
from pathlib import Path

import dagster as dg
import pytest
from small_project import CELL, run, small_project

from pipelines.definitions import build_definitions
from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.stages.nightly import compare, nightly, record_baseline

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(ROOT)


def tick(definitions: dg.Definitions, at: datetime.datetime) -> list[dg.RunRequest]:
    schedule = definitions.resolve_schedule_def("nightly_regression")
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=definitions.get_repository_def())
    return schedule.evaluate_tick(context).run_requests


def test_it_is_off_until_someone_switches_it_on(definitions):
    schedule = definitions.resolve_schedule_def("nightly_regression")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_each_cell_listed_under_nightly_gets_one_run_a_day(definitions):
    night = datetime.datetime(2026, 1, 31, 2, tzinfo=datetime.UTC)
    requests = tick(definitions, night)
    assert [request.partition_key for request in requests] == Params.load(ROOT / "params.yaml").nightly
    assert [request.run_key for request in requests] == [f"2026-01-31/{key.partition_key}" for key in requests]
    next_night = tick(definitions, night + datetime.timedelta(days=1))
    assert not {request.run_key for request in requests} & {request.run_key for request in next_night}


def scene(images: int) -> Annotations:
    """One cat in the middle of each image."""
    box = [40.0, 40.0, 30.0, 30.0]
    fields = {"neg_category_ids": [], "not_exhaustive_category_ids": [], "width": 112, "height": 112, "split": "eval"}
    return Annotations.from_dict(
        {
            "images": [{"id": i, "file_name": f"{i}.png", **fields} for i in range(1, images + 1)],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": box, "area": 900, "iscrowd": 0}
                for i in range(1, images + 1)
            ],
            "categories": [{"id": 1, "name": "cat", "frequency": "c", "image_count": 50, "instance_count": 50}],
        }
    )


def rows(images: int, wrong: int = 0) -> list[dict]:
    """Answers to `scene`: the first `wrong` ones point somewhere else."""
    right, elsewhere = [40.0, 40.0, 70.0, 70.0], [0.0, 0.0, 20.0, 20.0]
    return [
        {"image_id": i, "category_id": 1, "boxes": [elsewhere if i <= wrong else right], "scores": [0.9]}
        for i in range(1, images + 1)
    ]


def test_a_worse_model_does_not_pass():
    found = compare(scene(40), [1], now=rows(40, wrong=15), baseline=rows(40), resamples=200)
    assert not found["passed"]
    assert found["difference"] < 0 and found["high"] < 0
    assert found["baseline AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(("now", "before"), [(15, 15), (0, 15)], ids=["the same", "better"])
def test_a_model_that_is_not_worse_passes(now, before):
    assert compare(scene(40), [1], rows(40, wrong=now), rows(40, wrong=before), resamples=200)["passed"]


def test_a_difference_that_chance_explains_passes():
    found = compare(scene(40), [1], rows(40, wrong=9), [*rows(40, wrong=0)[:1], *rows(40, wrong=9)[1:]], resamples=200)
    assert found["difference"] < 0 and found["passed"]


def test_without_a_baseline_the_way_to_record_one_is_said(tmp_path):
    params = Params.load(ROOT / "params.yaml")
    with pytest.raises(InputError, match=f"no baseline is recorded; record one with `vrft baseline {CELL}`"):
        nightly(Layout(tmp_path), params, params.parse_cell(CELL))


@pytest.mark.slow
def test_a_worse_model_fails_the_nightly_run_and_the_same_model_passes(tmp_path):
    """A model that has learnt nothing, against itself and against a baseline that knew every box."""
    root = small_project(tmp_path / "project")
    params, layout = Params.load(root / "params.yaml"), Layout(root)
    cell = params.parse_cell(CELL)
    run("dvc", "repro", "-q", f"rft_eval@{CELL}", cwd=root)
    record_baseline(layout, cell)
    with dg.instance_for_test() as instance:
        job = build_definitions(root).resolve_job_def("nightly")

        def tonight() -> dg.ExecuteInProcessResult:
            return job.execute_in_process(instance=instance, partition_key=CELL, raise_on_error=False)

        assert tonight().success
        truth = Annotations.load(layout.raw(cell) / "annotations.json").split("eval")
        perfect = [
            {"image_id": i, "category_id": c, "boxes": boxes, "scores": scores, "rankings": {"certainty": scores}}
            for i in truth.images
            for c in truth.category_ids(i)
            for boxes in [truth.boxes(i, c)]
            for scores in [[0.9] * len(boxes)]
        ]
        io.write_jsonl(layout.baseline(cell) / "predictions.jsonl", perfect)
        worse = tonight()
    assert not worse.success, "a red run is what alerts see"
    (check,) = worse.get_asset_check_evaluations()
    assert check.check_name == "no_regression" and not check.passed
    assert check.metadata["high"].value < 0
    assert run("dvc", "status", f"rft_eval@{CELL}", cwd=root).strip() == "Data and pipelines are up to date."
