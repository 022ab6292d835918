"""An MLflow server that is absent, goes away or hangs holds no training up and loses nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from own_processes import free_port
from tracked import curve, recorded_models, runs, server, store_of_the_project, trained_project  # noqa: F401 - fixtures

from vrft_core import cli, provenance, tracking
from vrft_core.errors import InputError
from vrft_core.tracking import record


def test_a_server_that_is_not_there_stops_a_training_at_its_start_with_one_line(project, monkeypatch):
    layout, params, cell = project
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:hush@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(InputError, match="cannot be reached") as caught, tracking.run(layout, params, cell, "rft"):
        pytest.fail("the training began")

    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_server_that_is_not_there_costs_an_evaluation_a_warning_only(project, monkeypatch, capsys):
    layout, params, cell = project
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    tracking.log_evaluation(layout, params, cell, "rft", {"lvis/oracle/AP": 0.4})

    [line] = capsys.readouterr().err.splitlines()
    assert "is not recorded there" in line


@pytest.mark.slow
def test_two_stages_may_open_a_new_store_at_the_same_time(project):
    layout, _, cell = project
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from vrft_core import tracking
        from vrft_core.cell import Layout
        from vrft_core.tasks import load_params
        root = Path({str(layout.root)!r})
        params = load_params(root / "params.yaml")
        with tracking.run(Layout(root), params, params.parse_cell({cell.key!r}), sys.argv[1]) as run:
            for step in range(50):
                run.metrics({{"loss": step / 10}}, step)
    """)

    started = [subprocess.Popen([sys.executable, "-c", code, stage]) for stage in ("sft", "rft")]

    assert [process.wait(600) for process in started] == [0, 0]
    with tracking.open_store(layout) as client:
        found = runs(client)
        assert sorted(run.data.tags["stage"] for run in found) == ["rft", "sft"]
        assert [len(curve(client, run, "train/loss")) for run in found] == [50, 50]


@pytest.mark.slow
def test_a_server_that_goes_away_for_a_while_loses_nothing(project, empty_store, monkeypatch, capsys):
    layout, params, cell = project
    shutil.copy(empty_store, layout.root / "server.db")
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    digest = provenance.directory_digest(layout.model(cell, "rft"))

    with server(layout.root, port) as stop, tracking.run(layout, params, cell, "rft") as run:
        run.metrics({"reward": 0.1}, 1)
        assert run.flush() == 0
        stop()
        run.metrics({"reward": 0.2}, 2)
        run.metrics({"reward": 0.3}, 3)
        with server(layout.root, port):
            run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)
            assert run.flush() == 0
            with tracking.open_store(layout) as client:
                [found] = runs(client)
                assert curve(client, found, "train/reward") == [(1, 0.1), (2, 0.2), (3, 0.3)]
                assert [model.tags["dvc.md5"] for model in recorded_models(client)] == [digest]
            assert run.close("FINISHED") == 0

    assert not list(layout.root.glob("runs/tracking/*"))
    assert sum("does not answer" in line for line in capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_a_server_that_hangs_holds_no_training_up_and_gets_its_records_later(project, empty_store, monkeypatch, capsys):
    layout, params, cell = project
    shutil.copy(empty_store, layout.root / "server.db")
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:hush@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(record, "PATIENCE", 4.0)
    hanging = server(layout.root, port)
    with hanging:
        with tracking.run(layout, params, cell, "rft") as run:
            run.metrics({"reward": 0.0}, 0)
            assert run.flush() == 0
            os.killpg(hanging.process.pid, signal.SIGSTOP)  # its port takes connections, and nobody answers
            began = time.monotonic()
            for step in range(1, 200):
                run.metrics({"reward": step / 1000}, step)
            run.model(f"{cell.key}-rft", layout.model(cell, "rft"), "0" * 32)
            assert time.monotonic() - began < 2
            began = time.monotonic()
        assert time.monotonic() - began < 20
        said = capsys.readouterr().err
        assert said.count("MLflow does not answer") == 1
        assert "hush" not in said
        assert "205 records of lvis-mini-1shot-s0-rft did not reach MLflow; `vrft track --resend` sends them" in said
        (kept,) = layout.root.glob("runs/tracking/*.jsonl")
        assert "hush" not in kept.read_text()

        os.killpg(hanging.process.pid, signal.SIGCONT)
        assert cli.main(["--root", str(layout.root), "track", "--resend"]) == 0
        said = capsys.readouterr()
        assert said.out == "lvis-mini-1shot-s0-rft: 210 of 210 records sent\n"
        assert "Traceback" not in said.err
        assert not kept.exists()
        with tracking.open_store(layout) as client:
            [found] = runs(client)
            assert found.info.status == "FINISHED"
            assert curve(client, found, "train/reward") == [(step, step / 1000) for step in range(200)]
            assert [model.tags["dvc.md5"] for model in recorded_models(client)] == ["0" * 32]
        assert cli.main(["--root", str(layout.root), "track", "--resend"]) == 0
        assert capsys.readouterr().out == "nothing waits to be sent\n"


@pytest.mark.slow
def test_a_server_that_hangs_from_the_start_is_named_within_seconds(project, monkeypatch):
    layout, params, cell = project
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(InputError, match="cannot be reached"), tracking.run(layout, params, cell, "rft"):
            pytest.fail("the training began")
        assert time.monotonic() - began < 40


def test_records_for_one_server_are_not_sent_to_another(project, store, capsys):
    layout, *_ = project
    (layout.root / "runs/tracking").mkdir(parents=True)
    head = json.dumps({"run": "0" * 32, "name": "x", "uri": "http://elsewhere:5000"})
    (layout.root / "runs/tracking/a.jsonl").write_text(head + "\n")
    assert cli.main(["--root", str(layout.root), "track", "--resend"]) == 0
    assert "a.jsonl: is for http://elsewhere:5000, not for sqlite:///" in capsys.readouterr().out
    assert (layout.root / "runs/tracking/a.jsonl").exists()


@pytest.mark.slow
def test_without_mlflow_everything_else_works_and_one_line_says_so(project):
    layout, *_, cell = project
    code = textwrap.dedent(f"""
        import sys
        sys.modules["mlflow"] = None  # as where it is not installed
        from pathlib import Path
        from vrft_core import tracking
        from vrft_core.cell import Layout
        from vrft_core.tasks import load_params
        root = Path({str(layout.root)!r})
        params = load_params(root / "params.yaml")
        cell = params.parse_cell({cell.key!r})
        with tracking.run(Layout(root), params, cell, "rft") as run:
            run.metrics({{"reward": 1.0}}, 1)
            run.artifact(root / "params.yaml")
            run.model("x", root, "0")
        tracking.log_evaluation(Layout(root), params, cell, "rft", {{"lvis/oracle/AP": 0.4}})
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "vrft: MLflow is not installed: nothing is recorded there\n"
    assert not (layout.root / "mlflow.db").exists()
