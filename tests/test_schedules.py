"""The night shift: a model that has become worse is seen in the morning, one that has not is left in peace."""

import datetime
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest
from small_project import CELL, run, small_project

from pipelines.definitions import build_definitions
from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.commands.nightly import compare, nightly, record_baseline
from vrft_core.errors import InputError
from vrft_core.tasks import get_task, load_params

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
    assert [request.partition_key for request in requests] == load_params(ROOT / "params.yaml").nightly
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
        {
            "id": f"{i}-1", "image_id": i, "category_id": 1,
            "boxes": [elsewhere if i <= wrong else right], "scores": [0.9],
        }
        for i in range(1, images + 1)
    ]  # fmt: skip


def compared(now: list[dict], baseline: list[dict]) -> dict:
    params = load_params(ROOT / "params.yaml")
    settings = params.task_settings(params.parse_cell(CELL)).model_copy(update={"ranking": "stated"})
    return compare(get_task("detection"), settings, scene(40), [1], now, baseline, draws=200)


def test_a_worse_model_does_not_pass():
    found = compared(rows(40, wrong=15), rows(40))
    assert not found["passed"]
    assert found["difference"] < 0 and found["high"] < 0
    assert found["baseline lvis/self/AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(("now", "before"), [(15, 15), (0, 15)], ids=["the same", "better"])
def test_a_model_that_is_not_worse_passes(now, before):
    assert compared(rows(40, wrong=now), rows(40, wrong=before))["passed"]


def test_a_difference_that_chance_explains_passes():
    found = compared(rows(40, wrong=9), [*rows(40, wrong=0)[:1], *rows(40, wrong=9)[1:]])
    assert found["difference"] < 0 and found["passed"]


def test_without_a_baseline_the_way_to_record_one_is_said(tmp_path):
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(InputError, match=f"no baseline is recorded; record one with `vrft baseline {CELL}`"):
        nightly(Layout(tmp_path), params, params.parse_cell(CELL))


def test_a_cell_that_was_not_evaluated_gives_no_baseline(tmp_path):
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(InputError, match=f"evaluate first: vrft run {CELL}"):
        record_baseline(Layout(tmp_path), params, params.parse_cell(CELL))


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """(tonight(), record(rows, **about)): a night that answers forty questions, beside a baseline recorded so."""
    layout, params = Layout(tmp_path), load_params(ROOT / "params.yaml")
    cell = params.parse_cell(CELL)
    io.write_json(layout.raw(cell) / "annotations.json", {})
    tonights = [row | {"rankings": {"certainty": row["scores"]}} for row in rows(40)]
    answered = nullcontext((scene(40), [1], tonights))
    monkeypatch.setattr("vrft_core.commands.nightly.answers", lambda *args, **kwargs: answered)

    def record(number: int, **about: str) -> None:
        io.write_jsonl(layout.baseline(cell) / "predictions.jsonl", tonights[:number])
        digest = io.sha256(layout.raw(cell) / "annotations.json")
        io.write_json(layout.baseline(cell) / "about.json", {"annotations": digest, **about})

    return lambda: nightly(layout, params, cell), record


def test_a_baseline_from_before_metrics_named_the_protocol_is_compared_when_it_answers_the_same_questions(recorded):
    tonight, record = recorded
    record(40)
    found = tonight()
    assert found["passed"] and found[found["metric"]] == found["baseline lvis/self/AP"] == pytest.approx(1)


def test_a_baseline_of_other_questions_or_another_protocol_is_not_compared(recorded):
    tonight, record = recorded
    record(39)
    with pytest.raises(InputError, match="answers other questions than are asked now; record it again"):
        tonight()
    record(40, metric="lvis/oracle/AP")
    with pytest.raises(InputError, match="is of lvis/oracle/AP, not of lvis/self/AP; record it again"):
        tonight()


def test_a_baseline_whose_rows_name_no_example_is_refused_in_one_line(recorded, tmp_path):
    tonight, record = recorded
    record(40)
    [path] = (tmp_path / "baselines").rglob("predictions.jsonl")
    io.write_jsonl(path, [{name: value for name, value in row.items() if name != "id"} for row in io.read_jsonl(path)])
    with pytest.raises(InputError, match="does not say which examples it answers; record it again"):
        tonight()


@pytest.mark.slow
def test_a_worse_model_fails_the_nightly_run_and_the_same_model_passes(tmp_path):
    """A model that has learnt nothing, against itself and against a baseline that knew every box."""
    root = small_project(tmp_path / "project")
    params, layout = load_params(root / "params.yaml"), Layout(root)
    cell = params.parse_cell(CELL)
    run("dvc", "repro", "-q", f"rft_eval@{CELL}", cwd=root)
    record_baseline(layout, params, cell)
    with dg.instance_for_test() as instance:
        job = build_definitions(root).resolve_job_def("nightly")

        def tonight() -> dg.ExecuteInProcessResult:
            return job.execute_in_process(instance=instance, partition_key=CELL, raise_on_error=False)

        assert tonight().success
        truth = Annotations.load(layout.raw(cell) / "annotations.json").split("eval")
        perfect = [
            {"id": f"{i}-{c}", "image_id": i, "category_id": c, "boxes": boxes, "scores": scores,
             "rankings": {"certainty": scores}}
            for i in truth.images
            for c in truth.category_ids(i)
            for boxes in [truth.boxes(i, c)]
            for scores in [[0.9] * len(boxes)]
        ]  # fmt: skip
        io.write_jsonl(layout.baseline(cell) / "predictions.jsonl", perfect)
        worse = tonight()
    assert not worse.success, "a red run is what alerts see"
    (check,) = worse.get_asset_check_evaluations()
    assert check.check_name == "no_regression" and not check.passed
    assert check.metadata["high"].value < 0
    assert run("dvc", "status", f"rft_eval@{CELL}", cwd=root).strip() == "Data and pipelines are up to date."
