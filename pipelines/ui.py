"""`make ui`: Dagster (code server, daemon, pages with reports) and MLflow's server, on loopback, until Ctrl-C.

Starting and stopping them only; their settings lie in dagster_home/dagster.yaml and in `vrft_core.tracking`.
"""

import json
import os
import signal
import sys
import tempfile
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import dagster as dg

from pipelines import children
from pipelines.children import HOST, Child, answers, taken, wait_until
from pipelines.dead_runs import end_dead_runs
from pipelines.definitions import LOCATION, project_root
from pipelines.pages import PREFIX
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.storage import refuse_unwritable
from vrft_core.tasks import load_params
from vrft_core.tracking import tracking_uri

PORTS = {"VRFT_DAGSTER_PORT": 3000, "VRFT_MLFLOW_PORT": 5000}  # may be changed by these variables
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
        if taken(port):
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
    print("Starting Dagster and MLflow; their pages are there in about half a minute.", file=sys.stderr, flush=True)

    def start(name: str, *words: str) -> None:
        started.append(children.start(name, [sys.executable, "-m", *words], logs, root, environment))

    with tempfile.TemporaryDirectory(prefix="vrft-ui-") as private:  # a socket that only this user may use
        code = str(Path(private) / "code.sock")
        try:
            if ours:
                start("mlflow", *_mlflow(store, mlflow))
            start("code", "dagster", "code-server", "start", "-m", "pipelines.definitions", "--socket", code)
            if not wait_until(Path(code).exists, started):
                return 1
            start("daemon", *daemon(Path(private), code))
            start("pages", "pipelines.webserver", "--port", str(dagster), "--code", code)
            checks = [f"http://{HOST}:{dagster}/server_info", *([f"http://{HOST}:{mlflow}/health"] if ours else [])]
            if not wait_until(lambda: all(map(answers, checks)), started):
                return 1
            where = f"http://{HOST}:{mlflow}{_results(root, mlflow)}" if ours else store.rpartition("@")[2]
            print(_ready(f"http://{HOST}:{dagster}", where if there else "(not installed)", logs), flush=True)
            wait_until(lambda: False, started, float("inf"))
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
    for name in dict.fromkeys(cell.benchmark for cell in load_params(root / "params.yaml").cells()):
        asked = f"http://{HOST}:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(name)}"
        try:
            with urllib.request.urlopen(asked, timeout=10) as response:
                return RUNS.format(int(json.load(response)["experiment"]["experiment_id"]))
        except (OSError, ValueError, KeyError):
            continue
    return "/#/experiments"


def daemon(folder: Path, code: str) -> list[str]:
    """It must know the code by the name that the pages use, or it finds nothing of what is launched there.

    `folder`: where it can be told so; `code`: the code server's socket.
    """
    place = {"host": "localhost", "socket": code, "location_name": LOCATION}
    workspace = folder / "workspace.json"  # which is YAML, too
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": place}]}), encoding="utf-8")
    return ["dagster._daemon", "run", "--workspace", str(workspace), "--log-level", "warning"]


def _mlflow(store: str, port: int) -> list[str]:
    return [
        *("mlflow", "server", "--backend-store-uri", store, "--host", HOST, "--port", str(port), "--workers", "1"),
        *("--uvicorn-opts", "--log-level warning"),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
