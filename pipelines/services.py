"""`make services`: the parts of deploy/compose.yaml as plain processes of this machine, until Ctrl-C.

PostgreSQL for Dagster's and MLflow's stores, MLflow's server with an artifact store, code server, daemon, pages. One
that ends is started again, as `restart: unless-stopped` does. All of their state lies in dagster_home/services.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines import children, postgres
from pipelines.children import HOST, Child, answers, taken, wait_until
from pipelines.definitions import project_root
from pipelines.ui import ENVIRONMENT, PORTS, daemon
from vrft_core.errors import InputError
from vrft_core.locks import exclusive, say
from vrft_core.storage import refuse_unwritable
from vrft_core.tasks import load_params

SETTINGS = Path(__file__).parents[1] / "deploy/services"
PATIENCE = "300"  # seconds that starting a run's process may take, on a machine that trains meanwhile
MANY, WITHIN = 6, 120.0  # starts of one part within seconds, after which it is not started again


@dataclass
class Part:
    """One server: how it is started, and when it answers."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    child: Child | None = None
    starts: list[float] = field(default_factory=list)

    def start(self, logs: Path, root: Path, environment: dict[str, str]) -> None:
        if self.child:
            children.kill(self.child)  # what is left of it, as where a container ends
        self.child = children.start(self.name, self.command, logs, root, environment, again=bool(self.starts))
        self.starts = [*(then for then in self.starts if then > time.monotonic() - WITHIN), time.monotonic()]


def main() -> int:
    root = project_root()
    state = root / "dagster_home/services"
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        if not SETTINGS.is_dir():
            raise InputError(SETTINGS, "is not here", "start it from a checkout; VRFT_ROOT names the project")
        load_params(root / "params.yaml")
        refuse_unwritable([root, state])
        ports = {name: int(os.environ.get(name, port)) for name, port in PORTS.items()}
        for name, port in ports.items():
            if taken(port):
                raise InputError(f"{HOST}:{port}", "is taken", f"stop what listens there, or set {name}")
        with exclusive(state / "services.lock", "services"), tempfile.TemporaryDirectory(prefix="vrft-") as private:
            return _serve(root, state, Path(private), *ports.values())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _serve(root: Path, state: Path, private: Path, dagster: int, mlflow: int) -> int:
    """`private`: a folder for sockets that only this user may enter."""
    password = postgres.prepare(state / "postgres")
    with tempfile.TemporaryDirectory(prefix="vrft-postgres-") as socket:
        environment = _environment(root, state, Path(socket), password, mlflow)
        parts = _parts(state, Path(socket), private / "code.sock", dagster, mlflow)
        try:
            for part in parts:
                part.start(state / "logs", root, environment)
                if part.name in ("postgres", "code") and not wait_until(part.ready, _running(parts)):
                    return 1
                if part.name == "postgres":
                    _make_databases(Path(socket), environment)
            if not wait_until(lambda: all(part.ready() for part in parts), _running(parts)):
                return 1
            where = f"Dagster http://{HOST}:{dagster}   MLflow http://{HOST}:{mlflow}"
            print(f"Ready: {where}   (logs: {state / 'logs'}; Ctrl-C stops)", flush=True)
            return _keep(parts, lambda part: part.start(state / "logs", root, environment))
        finally:
            for last in (False, True):  # PostgreSQL, once it is not needed
                children.stop([child for child in _running(parts) if (child.name == "postgres") == last])


def _parts(state: Path, socket: Path, code: Path, dagster: int, mlflow: int) -> list[Part]:
    """In the order in which they are started."""
    python = [sys.executable, "-m"]
    location = ["--socket", str(code)]
    return [
        Part("postgres", postgres.server(state / "postgres", socket), lambda: postgres.accepts(socket)),
        Part(
            "mlflow",
            [*python, "mlflow", "server", "--host", HOST, "--port", str(mlflow), "--workers", "1",
             "--artifacts-destination", str(state / "artifacts"), "--uvicorn-opts", "--log-level warning"],
            lambda: answers(f"http://{HOST}:{mlflow}/health"),
        ),
        Part("code", [*python, "dagster", "api", "grpc", "-m", "pipelines.definitions", *location], code.exists),
        Part("daemon", [*python, *daemon(code.parent, str(code))], lambda: True),
        Part(
            "pages",
            [*python, "pipelines.webserver", "--port", str(dagster), "--code", str(code)],
            lambda: answers(f"http://{HOST}:{dagster}/server_info"),
        ),
    ]  # fmt: skip


def _environment(root: Path, state: Path, socket: Path, password: str, mlflow: int) -> dict[str, str]:
    home = state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(SETTINGS / "dagster.yaml", home)
    return {
        **os.environ,
        **ENVIRONMENT,
        "DAGSTER_GRPC_TIMEOUT_SECONDS": os.environ.get("DAGSTER_GRPC_TIMEOUT_SECONDS", PATIENCE),
        "VRFT_ROOT": str(root),
        "VRFT_SCHEDULES": os.environ.get("VRFT_SCHEDULES", "on"),
        "DAGSTER_HOME": str(home),
        "PGPASSWORD": password,
        "VRFT_DAGSTER_STORE": postgres.url("dagster", socket),
        "MLFLOW_BACKEND_STORE_URI": postgres.url("mlflow", socket),
        "MLFLOW_TRACKING_URI": f"http://{HOST}:{mlflow}",
    }


def _make_databases(socket: Path, environment: dict[str, str]) -> None:
    there = postgres.run("SELECT datname FROM pg_database", socket, environment).split()
    if "mlflow" not in there:  # the second of the two
        script = (SETTINGS / "databases.sql").read_text(encoding="utf-8")
        postgres.run("DROP DATABASE IF EXISTS dagster;\n" + script, socket, environment)


def _keep(parts: Sequence[Part], start: Callable[[Part], None]) -> int:
    """Start again whatever ends, until one ends again and again."""
    while True:
        for part in parts:
            if not (part.child and part.child.ended):
                continue
            if len(part.starts) >= MANY:
                print(part.child.last_words(), file=sys.stderr)
                return 1
            say(f"{part.name} ended with status {part.child.process.returncode}; it is started again")
            start(part)
        time.sleep(1)


def _running(parts: Sequence[Part]) -> list[Child]:
    return [part.child for part in parts if part.child]


if __name__ == "__main__":
    raise SystemExit(main())
