"""`make ui`: Dagster (code server, daemon, pages with reports) and MLflow's server, on loopback, until Ctrl-C.

Starting and stopping them only; their settings lie in dagster_home/dagster.yaml and in `vrft_core.tracking`.
"""

import json
import os
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import dagster as dg

from pipelines import children
from pipelines.children import Child
from pipelines.dead_runs import end_dead_runs
from pipelines.definitions import project_root
from pipelines.dvc_assets import benchmarks
from pipelines.pages import PREFIX
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.storage import refuse_unwritable
from vrft_core.tasks import load_params
from vrft_core.tracking import tracking_uri

HOST = "127.0.0.1"
PORTS = {"VRFT_DAGSTER_PORT": 3000, "VRFT_MLFLOW_PORT": 5000}  # may be changed by these variables
SECONDS_TO_START = 180
RUNS = "/#/experiments/{}/runs?workflowType=machine_learning"  # MLflow's own first page shows traces, of which none are
ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten helper processes for what is not used here
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def main() -> int:
    root = project_root()
    dagster, mlflow = (int(os.environ.get(name, port)) for name, port in PORTS.items())
    store = tracking_uri(Layout(root))
    there = find_spec("mlflow") is not None
    ours = there and not store.startswith("http")
    try:
        load_params(root / "params.yaml")
        refuse_unwritable([root, root / "dagster_home"])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for name, port in zip(PORTS, (dagster, mlflow) if ours else (dagster,), strict=False):
        if _taken(port):
            print(f"{HOST}:{port} is taken: stop what listens there, or set {name}", file=sys.stderr)
            return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    os.environ["DAGSTER_HOME"] = str(root / "dagster_home")
    with dg.DagsterInstance.get() as instance:
        end_dead_runs(instance, root, servers=True)
    logs = root / "dagster_home/ui"
    environment = {**os.environ, **ENVIRONMENT, "VRFT_ROOT": str(root)}
    started: list[Child] = []

    def start(name: str, *words: str) -> None:
        started.append(children.start(name, [sys.executable, "-m", *words], logs, root, environment))

    with tempfile.TemporaryDirectory(prefix="vrft-ui-") as private:  # a socket that only this user may use
        code = str(Path(private) / "code.sock")
        try:
            if ours:
                start("mlflow", *_mlflow(store, mlflow))
            start("code", "dagster", "code-server", "start", "-m", "pipelines.definitions", "--socket", code)
            if not _wait(started, Path(code).exists):
                return 1
            start("daemon", "dagster._daemon", "run", "--grpc-socket", code, "--log-level", "warning")
            start("pages", "pipelines.webserver", "--port", str(dagster), "--socket", code)
            checks = [f"http://{HOST}:{dagster}/server_info", *([f"http://{HOST}:{mlflow}/health"] if ours else [])]
            if not _wait(started, lambda: all(map(_answers, checks))):
                return 1
            where = f"http://{HOST}:{mlflow}{_results(root, mlflow)}" if ours else store.rpartition("@")[2]
            print(_ready(f"http://{HOST}:{dagster}", where if there else "(not installed)", logs), flush=True)
            _wait(started, lambda: False, float("inf"))
            return 1
        except KeyboardInterrupt:
            return 0
        finally:
            children.stop(started)


def _ready(page: str, mlflow: str, logs: Path) -> str:
    """The addresses, a line each."""
    places = {"Dagster": page, "reports, data docs": f"{page}{PREFIX}/", "MLflow": mlflow, "logs": str(logs)}
    return "\n".join(["Ready. Ctrl-C stops all of it.", *(f"  {name:<18} {at}" for name, at in places.items())])


def _results(root: Path, port: int) -> str:
    """The page of the experiment that holds results: of the first benchmark of the grid that has one, else of all."""
    for name in benchmarks(load_params(root / "params.yaml")):
        asked = f"http://{HOST}:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name)}"
        try:
            with urllib.request.urlopen(asked, timeout=10) as response:
                return RUNS.format(int(json.load(response)["experiment"]["experiment_id"]))
        except (OSError, ValueError, KeyError):
            continue
    return "/#/experiments"


def _mlflow(store: str, port: int) -> list[str]:
    return [
        *("mlflow", "server", "--backend-store-uri", store, "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),
    ]


def _wait(started: list[Child], ready: Callable[[], bool], seconds: float = SECONDS_TO_START) -> bool:
    """Whether it is ready in time, and nobody has ended; else what is wrong is printed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for child in started:
            if child.ended:
                print(child.last_words(), file=sys.stderr)
                return False
        if ready():
            return True
        time.sleep(0.3)
    print(f"not ready after {seconds:.0f} s; see the logs in {started[0].log.parent}", file=sys.stderr)
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


if __name__ == "__main__":
    raise SystemExit(main())
