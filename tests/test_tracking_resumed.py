"""A run in MLflow goes on where it ended: after a kill, a failure, a repeated stage, a move."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
import yaml
from tracked import curve, parsed, recorded_models, runs, store_of_the_project, trained_project  # noqa: F401 - fixtures

from vrft_core import provenance, tracking
from vrft_core.cell import Layout


@pytest.mark.slow
def test_a_training_killed_hard_goes_on_in_its_own_run_and_repeats_no_step(project, store):
    layout, params, cell = project
    killed = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from vrft_core import tracking
        from vrft_core.cell import Layout
        from vrft_core.tasks import load_params
        root = Path({str(layout.root)!r})
        params = load_params(root / "params.yaml")
        with tracking.run(Layout(root), params, params.parse_cell({cell.key!r}), "rft") as run:
            for step in (1, 2, 3):
                run.metrics({{"reward": step / 10}}, step)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", killed], timeout=120).returncode == -signal.SIGKILL
    [left] = runs(store)
    assert left.info.status == "RUNNING"

    with tracking.run(layout, params, cell, "rft") as run:  # the last checkpoint was at step 2
        assert run.resumed
        for step in (3, 4):
            run.metrics({"reward": step / 10}, step)

    [only] = runs(store)
    assert only.info.status == "FINISHED"
    assert curve(store, only, "train/reward") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]


def test_a_stage_repeated_after_success_finds_its_run_and_its_model(project, store):
    layout, params, cell = project
    for _ in range(2):
        with tracking.run(layout, params, cell, "rft") as run:
            run.metrics({"reward": 0.5}, 1)
            run.model("a/b", layout.model(cell, "rft"), provenance.directory_digest(layout.model(cell, "rft")))

    [only] = runs(store)
    assert curve(store, only, "train/reward") == [(1, 0.5)]
    assert [model.name for model in recorded_models(store)] == ["a-b"]


@pytest.mark.parametrize("change", ["settings", "input", "code"])
def test_another_training_gets_another_run(project, store, monkeypatch, change):
    layout, params, cell = project
    with tracking.run(layout, params, cell, "rft"):
        pass
    if change == "settings":
        content = yaml.safe_load((layout.root / "params.yaml").read_text())
        content["recipes"][cell.recipe]["rft"]["learning_rate"] *= 2
        params = parsed(content)
    elif change == "input":
        (layout.prompts(cell) / "file.bin").write_text("another question")
    else:
        monkeypatch.setattr(provenance, "source_digest", lambda: "other code")

    with tracking.run(layout, params, cell, "rft"):
        pass

    assert len(runs(store)) == 2


def test_settings_of_the_other_method_do_not_count_as_a_change(project, store):
    layout, params, cell = project
    content = yaml.safe_load((layout.root / "params.yaml").read_text())
    content["recipes"][cell.recipe]["sft"]["steps"] *= 2

    for one in (params, parsed(content)):
        with tracking.run(layout, one, cell, "rft"):
            pass

    assert len(runs(store)) == 1


def test_an_exception_marks_the_run_failed_and_the_retry_continues_it(project, store):
    layout, params, cell = project
    with pytest.raises(ZeroDivisionError), tracking.run(layout, params, cell, "sft") as run:
        run.metrics({"loss": 1.0}, 1)
        raise ZeroDivisionError
    assert [r.info.status for r in runs(store)] == ["FAILED"]

    with tracking.run(layout, params, cell, "sft") as run:
        run.metrics({"loss": 0.5}, 2)

    assert [(r.info.status, r.data.metrics["train/loss"]) for r in runs(store)] == [("FINISHED", 0.5)]


def test_records_of_a_killed_training_are_sent_by_the_next_attempt(project, store):
    layout, params, cell = project
    with tracking.run(layout, params, cell, "rft") as run:
        run_id = run.id
    kept = layout.root / "runs/tracking" / f"{run_id}.jsonl"
    lines = [
        {"run": run_id, "name": "x", "uri": ""},
        {"do": "metrics", "values": {"train/reward": 0.5}, "step": 7, "time": 1},
    ]
    kept.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"do": "metr')
    with tracking.run(layout, params, cell, "rft") as run:
        assert run.resumed
        run.metrics({"reward": 0.6}, 8)
    assert curve(store, runs(store)[0], "train/reward") == [(7, 0.5), (8, 0.6)]
    assert not kept.exists()


@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_project_in_another_place_keeps_its_runs_and_writes_nothing_into_the_old_one(project, store, capsys, how):
    layout, params, cell = project
    table = layout.root / "rollouts.jsonl"
    table.write_text("{}\n")
    with tracking.run(layout, params, cell, "rft") as run:
        run.table(table)
    new = layout.root.parent / f"{layout.root.name} elsewhere"
    (shutil.copytree if how == "copied" else shutil.move)(layout.root, new)
    before = sorted(layout.root.rglob("*"))

    with tracking.run(Layout(new), params, cell, "sft") as run:
        run.table(new / "rollouts.jsonl")

    assert sorted(layout.root.rglob("*")) == before
    assert len(list(new.glob("mlartifacts/lvis/*/artifacts/rollouts/rollouts.jsonl"))) == 2
    with tracking.open_store(Layout(new)) as client:
        for found in runs(client):
            assert found.info.artifact_uri.startswith((new / "mlartifacts").as_uri())
            assert [file.path for file in client.list_artifacts(found.info.run_id, "rollouts")]
    assert capsys.readouterr().err.count("its artifacts are looked for here now") == 1
    shutil.rmtree(new)
