"""`make ui`: Dagster (webserver and daemon) and MLflow's server, on loopback, until Ctrl-C.

Starting and stopping them only; their settings lie in dagster_home/dagster.yaml and in `vrft_core.tracking`.
"""

import os
import signal
import socket
import subprocess
import sys
import time

from pipelines.definitions import project_root
from vrft_core.cell import Layout
from vrft_core.tracking import tracking_uri

HOST = "127.0.0.1"
PORTS = {"VRFT_DAGSTER_PORT": 3000, "VRFT_MLFLOW_PORT": 5000}  # may be changed by these variables
SECONDS_TO_STOP = 20
TRAININGS = (
    "/#/experiments/1/runs?workflowType=machine_learning"  # MLflow's own first page shows traces, and there are none
)


def main() -> int:
    root = project_root()
    dagster, mlflow = (int(os.environ.get(name, port)) for name, port in PORTS.items())
    store = tracking_uri(Layout(root))
    ours = not store.startswith("http")
    for name, port in zip(PORTS, (dagster, mlflow) if ours else (dagster,), strict=False):
        if _taken(port):
            print(f"{HOST}:{port} is taken: stop what listens there, or set {name}", file=sys.stderr)
            return 2
    environment = {**os.environ, "DAGSTER_HOME": str(root / "dagster_home"), "VRFT_ROOT": str(root)}
    commands = [_dagster(dagster), *([_mlflow(store, mlflow)] if ours else [])]
    processes = [subprocess.Popen(c, cwd=root, env=environment, start_new_session=True) for c in commands]
    where = f"http://{HOST}:{mlflow}{TRAININGS}" if ours else store
    print(
        f"In a minute: Dagster http://{HOST}:{dagster}   MLflow {where}   (Ctrl-C stops what runs here)",
        flush=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(processes)


def _dagster(port: int) -> list[str]:
    return [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions", "-h", HOST, "-p", str(port)]


def _mlflow(store: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
    ]


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _stop(processes: list[subprocess.Popen]) -> None:
    """End both process groups: politely, then not."""
    for how in (signal.SIGINT, signal.SIGKILL):
        for process in processes:
            try:
                os.killpg(process.pid, how)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < deadline and any(process.poll() is None for process in processes):
            time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(main())
