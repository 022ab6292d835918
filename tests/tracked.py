"""A project that has come as far as trained weights, its MLflow store, and a real MLflow server."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from vrft_core import tracking
from vrft_core.cell import Layout
from vrft_core.params import Params
from vrft_core.tasks import load_params, settings_models
from vrft_core.tracking import record

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def parsed(content: dict) -> Params:
    return Params.parse(yaml.safe_dump(content), Path("params.yaml"), settings_models())


@pytest.fixture(name="project")
def trained_project(tmp_path, monkeypatch):
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


@pytest.fixture(name="store")
def store_of_the_project(project, empty_store):
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
