"""The nightly evaluation: a model that has become worse is seen in the morning, one that has not is left in peace."""

import datetime
import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest
from small_project import CELL, edit_params, run, small_project

from pipelines.definitions import build_definitions
from vrft_core import cli, io, nights
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.commands import nightly as command
from vrft_core.commands.baseline import record_baseline
from vrft_core.commands.nightly import check_data, compare, evaluate, judge, nightly
from vrft_core.errors import InputError
from vrft_core.evaluation.regression import p_worse
from vrft_core.params import Nightly
from vrft_core.tasks import get_task, load_params

ROOT = Path(__file__).parents[1]
NIGHT = datetime.datetime(2026, 1, 31, 2, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(ROOT)


def tick(definitions: dg.Definitions, at: datetime.datetime) -> list[dg.RunRequest]:
    schedule = definitions.resolve_schedule_def("nightly_regression")
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=definitions.get_repository_def())
    return schedule.evaluate_tick(context).run_requests


@pytest.mark.parametrize("name", ["nightly_regression", "nightly_freshness"])
@pytest.mark.slow
def test_the_schedules_are_off_until_someone_switches_them_on_and_on_in_a_deployment(definitions, name, monkeypatch):
    assert definitions.resolve_schedule_def(name).default_status == dg.DefaultScheduleStatus.STOPPED
    monkeypatch.setenv("VRFT_SCHEDULES", "on")
    deployed = build_definitions(ROOT).resolve_schedule_def(name)
    assert deployed.default_status == dg.DefaultScheduleStatus.RUNNING


def test_one_run_a_day_however_often_it_is_asked(definitions):
    [request], [again] = tick(definitions, NIGHT), tick(definitions, NIGHT)
    [next_night] = tick(definitions, NIGHT + datetime.timedelta(days=1))
    assert request.run_key == again.run_key == "2026-01-31" != next_night.run_key


def test_the_hour_is_that_of_params_yaml_and_freshness_is_looked_at_later(definitions):
    crons = [definitions.resolve_schedule_def(f"nightly_{name}").cron_schedule for name in ("regression", "freshness")]
    assert crons == ["0 2 * * *", "0 8 * * *"]


def test_every_listed_cell_has_a_verdict_and_a_freshness_check(definitions):
    keys = definitions.resolve_asset_graph().get_check_keys_for_assets({dg.AssetKey("nightly_eval")})
    names = {key.name for key in keys}
    cells = [key.replace("-", "_") for key in load_params(ROOT / "params.yaml").nightly.cells]
    assert names >= {f"{kind}_{cell}" for kind in ("no_regression", "fresh") for cell in cells}


def test_a_project_without_nightly_cells_still_loads(tmp_path):
    root = small_project(tmp_path / "project")
    edit_params(root, lambda params: params.pop("nightly"))
    assert build_definitions(root).resolve_job_def("nightly_regression")


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


def p_value(now: list[dict], baseline: list[dict]) -> float:
    return p_worse(nights.difference(compared(now, baseline)))


def test_a_worse_model_is_told_with_its_interval():
    found = compared(rows(40, wrong=15), rows(40))
    assert found["difference"]["high"] < 0 and p_value(rows(40, wrong=15), rows(40)) < 0.001
    assert found["baseline"] == pytest.approx(1.0)
    assert found["metric"] == "lvis/self/AP" and found["metrics"]["lvis/self/AP"]["value"] == found["value"]


@pytest.mark.parametrize(("now", "before"), [(15, 15), (0, 15)], ids=["the same", "better"])
def test_a_model_that_is_not_worse_has_no_small_p_value(now, before):
    assert p_value(rows(40, wrong=now), rows(40, wrong=before)) >= 0.5


def test_a_difference_that_chance_explains_is_not_significant():
    found = compared(rows(40, wrong=9), [*rows(40, wrong=0)[:1], *rows(40, wrong=9)[1:]])
    assert found["difference"]["value"] < 0 and p_worse(nights.difference(found)) > 0.05


def test_a_cell_that_was_not_evaluated_gives_no_baseline(tmp_path):
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(InputError, match=f"evaluate first: vrft run {CELL}"):
        record_baseline(Layout(tmp_path), params, params.parse_cell(CELL))


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """(layout, params, record(rows, **about), answer(rows)): what the baseline is, and what is answered now."""
    layout, params = Layout(tmp_path), load_params(ROOT / "params.yaml")
    params = params.model_copy(update={"nightly": Nightly(cells=[CELL])})
    cell = params.parse_cell(CELL)
    io.write_json(layout.raw(cell) / "annotations.json", {})
    layout.model(cell, "rft").mkdir(parents=True)
    monkeypatch.setattr(command, "check_data", lambda *_: None)
    monkeypatch.setattr(command.tracking, "log_night", lambda *_: "0" * 32)

    def ranked(found: list[dict]) -> list[dict]:
        return [row | {"rankings": {"certainty": row["scores"]}} for row in found]

    def answer(found: list[dict]) -> None:
        answered = nullcontext((scene(40), [1], ranked(found)))
        monkeypatch.setattr(command, "answers", lambda *args, **kwargs: answered)

    def record(found: list[dict], **about: str) -> None:
        io.write_jsonl(layout.baseline(cell) / "predictions.jsonl", ranked(found))
        digest = io.sha256(layout.raw(cell) / "annotations.json")
        io.write_json(layout.baseline(cell) / "about.json", {"annotations": digest, **about})

    answer(rows(40))
    return layout, params, record, answer


def test_without_a_baseline_the_way_to_record_one_is_said(recorded):
    layout, params, *_ = recorded
    with pytest.raises(InputError, match=f"no baseline is recorded; record one with `vrft baseline {CELL}`"):
        evaluate(layout, params, params.parse_cell(CELL))


def test_a_baseline_from_before_metrics_named_the_protocol_is_compared_when_it_answers_the_same_questions(recorded):
    layout, params, record, _ = recorded
    record(rows(40))
    found = evaluate(layout, params, params.parse_cell(CELL))
    assert found["value"] == found["baseline"] == pytest.approx(1)


def test_a_baseline_of_other_questions_or_another_protocol_is_not_compared(recorded):
    layout, params, record, _ = recorded
    record(rows(39))
    with pytest.raises(InputError, match="answers other questions than are asked now; record it again"):
        evaluate(layout, params, params.parse_cell(CELL))
    record(rows(40), metric="lvis/oracle/AP")
    with pytest.raises(InputError, match="is of lvis/oracle/AP, not of lvis/self/AP; record it again"):
        evaluate(layout, params, params.parse_cell(CELL))


def test_a_baseline_whose_rows_name_no_example_is_refused_in_one_line(recorded):
    layout, params, record, _ = recorded
    record([{name: value for name, value in row.items() if name != "id"} for row in rows(40)])
    with pytest.raises(InputError, match="does not say which examples it answers; record it again"):
        evaluate(layout, params, params.parse_cell(CELL))


def test_a_good_night_passes_in_one_sentence_and_leaves_a_row_and_a_page(recorded):
    layout, params, record, _ = recorded
    record(rows(40))
    night = nightly(layout, params)
    assert night["passed"] and "\n" not in night["sentence"]
    assert night["sentence"].startswith("Passed: 1 of 1 models as good as their baselines; ")
    assert [one["sentence"] for one in nights.read(layout)] == [night["sentence"]]
    assert night["sentence"] in nights.page(layout).read_text()


def test_a_worse_model_fails_the_night_and_the_sentence_says_by_how_much(recorded):
    layout, params, record, answer = recorded
    record(rows(40))
    answer(rows(40, wrong=15))
    night = nightly(layout, params)
    assert not night["passed"] and night["cells"][CELL]["verdict"] == "worse"
    assert night["sentence"].startswith(f"FAILED: {CELL} lost ")
    assert "points of LVIS AP" in night["sentence"] and "95 % interval −" in night["sentence"]


def test_the_command_says_the_sentence_and_its_exit_status_is_the_verdict(recorded, capsys):
    layout, _, record, answer = recorded
    shutil.copy(ROOT / "params.yaml", layout.root)
    edit_params(layout.root, lambda params: params.update(nightly={"cells": [CELL]}))
    command_line = ["--root", str(layout.root), "nightly"]
    record(rows(40))
    assert cli.main(command_line) == 0
    assert capsys.readouterr().out.startswith("Passed: 1 of 1 models")
    assert cli.main([*command_line, CELL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cells"][CELL]["verdict"] == "good"
    answer(rows(40, wrong=15))
    assert cli.main(command_line) == 1
    assert capsys.readouterr().out.startswith(f"FAILED: {CELL} lost ")
    edit_params(layout.root, lambda params: params.update(nightly={}))
    assert cli.main(command_line) == 2
    assert capsys.readouterr().err.startswith("vrft: params.yaml: nightly.cells names no cell; ")


def test_the_night_of_the_other_cells_ends_in_a_report_although_one_cannot_be_evaluated(recorded):
    layout, params, record, _ = recorded
    record(rows(40))
    other = "lvis-mini-1shot-s1"
    params = params.model_copy(update={"nightly": Nightly(cells=[other, CELL])})
    night = nightly(layout, params)
    assert [night["cells"][key]["verdict"] for key in (other, CELL)] == ["failed", "good"]
    assert not night["passed"]
    assert night["sentence"].startswith(
        f"FAILED: no baseline is recorded for {other}, so nothing was compared: where a model is good, record it with "
        f"`vrft baseline {other}`. Else: 1 of 2 models as good"
    )
    assert other in nights.page(layout).read_text()


def test_a_fault_of_the_program_itself_does_not_end_the_night(recorded, monkeypatch, capsys):
    layout, params, record, _ = recorded
    record(rows(40))
    monkeypatch.setattr(command, "compare", lambda *_: 1 / 0)
    night = nightly(layout, params)
    assert f"{CELL} could not be evaluated: ZeroDivisionError: division by zero" in night["sentence"]
    assert "Traceback" in capsys.readouterr().err


def test_a_reward_that_pays_otherwise_fails_the_night(recorded, monkeypatch):
    layout, params, record, _ = recorded
    record(rows(40))
    monkeypatch.setitem(get_task("detection").rewards.REWARDS, "iou", lambda completion, truth: 1.0)
    night = nightly(layout, params)
    assert not night["passed"] and "the rewards of detection changed: " in night["sentence"]


def test_a_small_loss_that_no_night_shows_fails_the_night_in_which_the_evidence_suffices():
    """Some 0.4 points every night, within what is tolerated, with a standard error of as much."""
    params = load_params(ROOT / "params.yaml")
    past: list[dict] = []
    for number in range(1, 21):
        lost = -0.004 + (-1) ** number * 0.0005
        ends = {"value": lost, "low": lost - 0.00784, "high": lost + 0.00784, "se": 0.004}
        row = {"metric": "m", "title": "the metric", "difference": ends, "baseline_digest": "b", "metrics": {}}
        good = row | {"difference": {"value": 0.0, "low": 0.0, "high": 0.0, "se": 0.0}}
        at = (NIGHT + datetime.timedelta(days=number)).isoformat()
        night = {"at": at, "cells": {"a": row, "b": dict(good)}, "rewards": {}, "golden": None, "data": None}
        judge(night, past, params)
        past.append(night)
    verdicts = [night["cells"]["a"]["verdict"] for night in past]
    first = verdicts.index("drifting")
    assert verdicts == ["good"] * first + ["drifting"] * (20 - first)
    assert "a drifts: −" in past[verdicts.index("drifting")]["sentence"]
    assert {night["cells"]["b"]["verdict"] for night in past} == {"good"}


def test_a_missed_night_is_noticed_for_each_cell():
    row = {"difference": {"value": 0.0, "low": 0.0, "high": 0.0, "se": 0.0}}
    past = [{"at": NIGHT.isoformat(), "cells": {"a": row, "b": {"verdict": "failed", "said": "no model"}}}]
    soon, late = NIGHT + datetime.timedelta(hours=25), NIGHT + datetime.timedelta(hours=30)
    assert nights.missed(past, "a", soon) is None
    assert nights.missed(past, "a", late) == "a was last evaluated 2026-01-31 02:00 UTC, 30 h ago"
    assert nights.missed(past, "b", soon) == "b was never evaluated at night"


@pytest.mark.slow
def test_the_freshness_job_fails_the_cells_that_were_missed_and_only_those(tmp_path):
    root = small_project(tmp_path / "project")
    other = "lvis-mini-1shot-s1"
    edit_params(root, lambda params: params["nightly"].update(cells=[CELL, other]))
    row = {"difference": {"value": 0.0, "low": 0.0, "high": 0.0, "se": 0.0}}
    now = datetime.datetime.now(datetime.UTC)
    for hours, key in ((50, other), (1, CELL)):
        at = (now - datetime.timedelta(hours=hours)).isoformat()
        nights.append(Layout(root), {"at": at, "cells": {key: row}})
    with dg.instance_for_test() as instance:
        job = build_definitions(root).resolve_job_def("nightly_freshness")
        done = job.execute_in_process(instance=instance, raise_on_error=False)
    found = {check.check_name: check.passed for check in done.get_asset_check_evaluations()}
    assert found == {"fresh_lvis_mini_1shot_s0": True, "fresh_lvis_mini_1shot_s1": False}


@pytest.mark.slow
def test_a_worse_model_fails_the_nightly_run_and_the_same_model_passes(tmp_path):
    """A model that has learnt nothing, against itself and against a baseline that knew every box."""
    root = small_project(tmp_path / "project")
    params, layout = load_params(root / "params.yaml"), Layout(root)
    cell = params.parse_cell(CELL)
    run("dvc", "repro", "-q", f"rft_eval@{CELL}", cwd=root)
    record_baseline(layout, params, cell)
    with dg.instance_for_test() as instance:
        job = build_definitions(root).resolve_job_def("nightly_regression")

        def tonight() -> dg.ExecuteInProcessResult:
            return job.execute_in_process(instance=instance, raise_on_error=False)

        first = tonight()
        assert first.success, [check.description for check in first.get_asset_check_evaluations()]
        [night] = nights.read(layout)
        assert night["golden"] == {
            "cell": CELL, "passed": True, "exact": True, "said": "losses and rewards agree to the digit",
        }  # fmt: skip
        assert night["data"]["passed"] and night["data"]["suites"] > 5
        assert night["run"].startswith("http://127.0.0.1:5000/#/experiments/"), "an MLflow run"
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
        curve = io.read_json(layout.baseline(cell) / "golden.json")
        curve["curves"]["sft"]["loss"][1] += 1e-6
        io.write_json(layout.baseline(cell) / "golden.json", curve)
        worse = tonight()
    assert not worse.success, "a red run is what alerts see"
    failed = {check.check_name for check in worse.get_asset_check_evaluations() if not check.passed}
    assert failed == {"no_regression_lvis_mini_1shot_s0", "golden_training"}
    said = run("vrft", "nightly", CELL, cwd=root, status=1)
    assert f"FAILED: {CELL} lost " in said
    assert run("dvc", "status", f"rft_eval@{CELL}", cwd=root).strip() == "Data and pipelines are up to date."


@pytest.mark.slow
def test_the_job_promote_is_red_and_says_why_where_a_model_cannot_be_promoted(tmp_path):
    root = small_project(tmp_path / "project")
    job = build_definitions(root).resolve_job_def("promote")
    config = {"ops": {"promote_model": {"config": {"cell": CELL}}}}
    done = job.execute_in_process(run_config=config, raise_on_error=False)
    assert not done.success
    [failure] = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert "no trained model here; run `vrft run lvis-mini-1shot-s0` first" in failure.user_failure_data.description


@pytest.mark.slow
def test_data_suites_that_cannot_run_are_said_in_one_line(tmp_path):
    root = small_project(tmp_path / "project")
    with pytest.raises(InputError, match=r"data suites: .*no such file") as caught:
        check_data(Layout(root), [CELL])
    assert "\n" not in str(caught.value)
