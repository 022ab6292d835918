"""MLflow against a real sqlite store and a real server, and digests against a real DVC."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from vrft_core import cli, costs, provenance, tracking
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.tasks import load_params, settings_models
from vrft_core.tracking import record

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def parsed(content: dict) -> Params:
    return Params.parse(yaml.safe_dump(content), Path("params.yaml"), settings_models())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """(layout, params, cell) of a project that has come as far as trained weights."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(record, "PAUSE", 0.0)
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    layout, params = Layout(tmp_path), load_params(tmp_path / "params.yaml")
    cell = params.cells()[0]
    for directory in (layout.prompts(cell), layout.policy(cell), layout.model(cell, "rft")):
        directory.mkdir(parents=True)
        (directory / "file.bin").write_text(f"bytes of {directory.name}")
    layout.raw(cell).mkdir(parents=True)
    (layout.raw(cell) / "annotations.json").write_text("{}")
    return layout, params, cell


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A database with MLflow's tables, made once: it takes seconds."""
    root = tmp_path_factory.mktemp("store")
    with tracking.open_store(Layout(root)) as client:
        client.search_experiments()
    return root / "mlflow.db"


@pytest.fixture
def store(project, empty_store):
    """A client of the project's own store."""
    layout, *_ = project
    shutil.copy(empty_store, layout.root / "mlflow.db")
    with tracking.open_store(layout) as client:
        return client


def runs(client):
    return client.search_runs([e.experiment_id for e in client.search_experiments()], order_by=["start_time"])


def recorded_models(client):
    return client.search_logged_models([e.experiment_id for e in client.search_experiments()])


def curve(client, run, name):
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def test_a_run_holds_settings_inputs_curve_rollouts_and_the_trained_model(project, store):
    layout, params, cell = project
    rollouts = layout.root / "rollouts.jsonl"
    rollouts.write_text('{"completion": "<answer>[]</answer>", "reward": 0.0}\n')
    digest = provenance.directory_digest(layout.model(cell, "rft"))

    with tracking.run(layout, params, cell, "rft") as run:
        run.metrics({"reward": 0.25, "loss": 0.5, "note": "no number", "kl": float("nan")}, 1)
        run.table(rollouts)
        run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)

    [found] = runs(store)
    assert (found.info.run_name, found.info.status) == (f"{cell.key}-rft", "FINISHED")
    assert run.address.endswith(f"/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}")
    assert found.data.metrics == {"train/reward": 0.25, "train/loss": 0.5}
    assert found.data.params["rft.learning_rate"] == str(params.recipe(cell).rft.learning_rate)
    assert found.data.params["seed"] == str(cell.seed)
    inputs = {entry.dataset.name: entry.dataset.digest for entry in found.inputs.dataset_inputs}
    assert inputs == {f"data/prompts/{cell.key}": provenance.directory_digest(layout.prompts(cell))}
    assert found.data.tags["vrft.starting_weights"] == provenance.directory_digest(layout.policy(cell))
    assert [file.path for file in store.list_artifacts(found.info.run_id, "rollouts")] == ["rollouts/rollouts.jsonl"]
    [model] = recorded_models(store)
    assert (model.source_run_id, model.tags["dvc.md5"]) == (found.info.run_id, digest)
    assert model.tags["dvc.path"] == f"models/{cell.key}/rft"
    assert store.search_registered_models() == [], "only what can be loaded is registered"


def test_a_training_that_is_recorded_later_costs_what_its_stage_noted_and_nothing_where_that_is_not_known(
    project, store
):
    layout, params, cell = project
    with tracking.run(layout, params, cell, "rft", computed=False):
        pass
    [found] = runs(store)
    assert not [name for name in found.data.tags if name.startswith("cost.")], "as after a clone and `dvc pull`"

    noted = costs.cost_file(layout, cell, "rft")
    noted.parent.mkdir(parents=True, exist_ok=True)
    noted.write_text('{"ended": "done", "seconds": 500, "cpu_seconds": 400, "peak_memory_mb": 900}\n')
    with tracking.run(layout, params, cell, "rft", computed=False):
        pass
    [found] = runs(store)
    assert (found.data.tags["cost.seconds"], found.data.tags["cost.cpu_seconds"]) == ("500", "400")


@pytest.mark.slow
def test_a_training_is_linked_to_the_run_that_made_its_starting_weights(project, store):
    layout, params, cell = project
    with tracking.run(layout, params, cell.at("recipe"), "policy") as run:
        run.model("mini-policy", layout.policy(cell), provenance.directory_digest(layout.policy(cell)))

    with tracking.run(layout, params, cell, "rft"):
        pass

    policy, rft = (store.get_run(run.info.run_id) for run in runs(store))
    assert [given.model_id for given in rft.inputs.model_inputs] == [
        made.model_id for made in policy.outputs.model_outputs
    ]


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


def test_evaluations_land_on_the_trained_models_run_and_beside_the_untouched_model(project, store):
    layout, params, cell = project
    digest = provenance.directory_digest(layout.model(cell, "rft"))
    with tracking.run(layout, params, cell, "rft") as run:
        run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)

    undefined = {"value": None, "low": None, "high": None}
    for _ in range(2):
        trained = {"lvis/oracle/AP": {"value": 0.45, "low": 0.4, "high": 0.5}, "lvis/oracle/APr": undefined}
        tracking.log_evaluation(layout, params, cell, "rft", trained)
        tracking.log_evaluation(layout, params, cell.at("setup"), "base", {"lvis/oracle/AP": 0.34})

    found = {run.info.run_name: run for run in runs(store)}
    assert set(found) == {f"{cell.key}-rft", f"{cell.at('setup').key}-base"}
    trained = found[f"{cell.key}-rft"]
    assert trained.data.metrics == {
        "lvis/oracle/AP": 45.0,
        "interval/lvis/oracle/AP/low": 40.0,
        "interval/lvis/oracle/AP/high": 50.0,
    }
    assert curve(store, trained, "lvis/oracle/AP") == [(0, 45.0)]
    [model] = store.search_logged_models([trained.info.experiment_id], filter_string=f"tags.`dvc.md5` = '{digest}'")
    assert ("lvis/oracle/AP", 45.0) in [(metric.key, metric.value) for metric in model.metrics]


def test_a_fault_that_comes_late_or_goes_away_has_zeros_in_its_curve(project, store):
    layout, params, cell = project
    with tracking.run(layout, params, cell, "rft") as run:
        for step, faults in enumerate(({"faulty": 0.0}, {"faulty": 0.5, "truncated": 0.5}, {"faulty": 0.0}), 1):
            run.metrics({f"answers/{name}": share for name, share in faults.items()}, step)
        run.metrics({"validation/coco/AP": 0.123456}, 3)
    [found] = runs(store)
    assert sorted(curve(store, found, "train/answers/truncated")) == [(1, 0.0), (2, 0.5), (3, 0.0)]
    assert curve(store, found, "validation/coco/AP") == [(3, 12.35)]


def test_a_models_run_holds_its_answers_and_its_report_and_its_page_is_known(project, store):
    layout, params, cell = project
    digest = provenance.directory_digest(layout.model(cell, "rft"))
    with tracking.run(layout, params, cell, "rft") as run:
        run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)
    for path in (layout.evaluation(cell, "rft") / "predictions.jsonl", layout.report(cell) / "report.html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert not tracking.recorded(layout, cell, "rft")
    tracking.log_evaluation(layout, params, cell, "rft", {"lvis/oracle/AP": {"value": 0.4, "low": 0.3, "high": 0.5}})
    tracking.log_report(layout, cell, ["rft"])

    [found] = runs(store)
    names = [one.path for folder in ("evaluation", "report") for one in store.list_artifacts(found.info.run_id, folder)]
    assert names == ["evaluation/predictions.jsonl", "report/report.html"]
    assert tracking.recorded(layout, cell, "rft")
    where = f"http://127.0.0.1:5000/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"
    assert tracking.address(layout, cell.key, "rft") == where


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


@pytest.mark.slow
def test_directory_and_file_digests_equal_dvcs_own(tmp_path):
    data = tmp_path / "data"
    for name, content in {"a.txt": "one\r\n", "b/c.bin": "two", "b/ü ä.txt": "three", "b-/d": ""}.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content.encode())
    (tmp_path / "one.json").write_text("{}")
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data", "one.json"]):
        subprocess.run([BIN / "dvc", *command], cwd=tmp_path, env=environment, check=True, timeout=60)

    def recorded(name):
        return yaml.safe_load((tmp_path / f"{name}.dvc").read_text())["outs"][0]["md5"]

    assert provenance.directory_digest(data) == recorded("data")
    assert provenance.file_digest(tmp_path / "one.json") == recorded("one.json")


def test_provenance_names_commit_dirt_versions_parameters_and_digests(project):
    layout, params, cell = project
    assert provenance.provenance(layout.root, params, cell)["git"] is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=layout.root, check=True)
    (layout.root / "dvc.lock").write_text("a: 1\n")

    clean = provenance.provenance(layout.root, params, cell)
    with open(layout.root / "params.yaml", "a") as file:
        file.write("# a note\n")
    dirty = provenance.provenance(layout.root, params, cell)

    assert len(clean["git"]["commit"]) == 40
    assert (clean["git"]["dirty"], dirty["git"]["dirty"]) == (False, True)
    annotations = layout.raw(cell) / "annotations.json"
    assert clean["digests"][f"data/raw/{cell.at('data').key}/annotations.json"] == provenance.file_digest(annotations)
    assert clean["digests"][f"data/few_shot/{cell.key}"] is None
    assert clean["packages"]["torch"].startswith("2.")
    assert clean["params"]["rft"]["num_generations"] == params.recipe(cell).rft.num_generations
    assert str(layout.root) not in json.dumps(clean)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class server:
    """A real `mlflow server` on loopback; entering returns a function that ends it early."""

    def __init__(self, root, port):
        self.port = port
        command = [
            BIN / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{root / 'server.db'}", "--artifacts-destination", root / "artifacts",
        ]  # fmt: skip
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        self.log = open(root / "server.log", "a")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env=environment, start_new_session=True
        )

    def __enter__(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return self.stop
            except OSError:
                assert self.process.poll() is None, Path(self.log.name).read_text()
                time.sleep(0.3)
        raise TimeoutError("the MLflow server did not start")

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(20)
        self.log.close()
