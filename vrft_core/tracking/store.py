"""Where MLflow keeps its records: a server, or the project's own file; its experiments."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from urllib.parse import urlsplit

from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.locks import say
from vrft_core.outbox import first_line

NOTES = {  # of experiments
    "nightly": "One run a night: every champion evaluated again. Metrics are points of 100.",
    "pretraining": "Pre-training of the starting weights. Results lie in the experiments named after benchmarks.",
    "benchmark": "Base, SFT and RFT on this benchmark. Metrics are points of 100; `interval/…` are the ends of 95 % "
    "intervals, `train/…` the curves of the training.",
}
_told = False


def tracking_uri(layout: Layout) -> str:
    """`MLFLOW_TRACKING_URI`, else the project's own file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{layout.root.resolve() / 'mlflow.db'}"


@contextlib.contextmanager
def open_store(layout: Layout) -> Iterator:
    """An MLflow client; trouble in the block becomes one line. Two stages may start at once: a lock guards the file."""
    _quiet()
    if not installed():
        raise InputError("mlflow", "is not installed", "pip install mlflow")
    from mlflow import MlflowClient

    uri = tracking_uri(layout)
    try:
        with _only_one(layout) if uri.startswith("sqlite:") else contextlib.nullcontext():
            if "MLFLOW_TRACKING_URI" not in os.environ:
                _take_along(layout)
            yield MlflowClient(uri, uri)
    except Exception as error:
        raise InputError(
            public(uri),
            f"MLflow cannot be reached: {first_line(error)}",
            "start the server, or unset MLFLOW_TRACKING_URI to keep the runs in mlflow.db",
        ) from error


def load() -> None:
    """Import what a client needs, for processes that are forked from this one. Raises ImportError without MLflow."""
    _quiet()
    import mlflow

    if "MLFLOW_TRACKING_URI" not in os.environ:
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def _quiet() -> None:
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would print the password in it
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    }.items():
        os.environ.setdefault(name, value)


def installed() -> bool:
    global _told
    try:
        import mlflow  # noqa: F401
    except ImportError:
        if not _told:
            _told = True
            say("MLflow is not installed: nothing is recorded there")
        return False
    return True


def experiment(client, layout: Layout, name: str, note: str = "benchmark") -> str:
    """Its id; made where there is none of that name. `note`: which of `NOTES` it then carries."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    local = tracking_uri(layout).startswith("sqlite:")
    artifacts = (layout.root.resolve() / "mlartifacts" / name).as_uri() if local else None
    return client.create_experiment(name, artifact_location=artifacts, tags={"mlflow.note.content": NOTES[note]})


def experiment_of(client, layout: Layout, cell: Cell) -> str:
    """Its id. One experiment a benchmark; starting weights, which belong to none, lie under their recipe."""
    return experiment(client, layout, cell.benchmark or cell.recipe, "benchmark" if cell.benchmark else "pretraining")


def public(uri: str) -> str:
    """The address without a password."""
    address = urlsplit(uri).netloc
    return uri.replace(address, address.rpartition("@")[2]) if address else uri


@contextlib.contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    with open(layout.root / "mlflow.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _take_along(layout: Layout) -> None:
    """MLflow writes absolute paths into its file. In a project that was copied or moved they name the old place, and
    new artifacts would go there: they are made to name this one."""
    path, here = layout.root.resolve() / "mlflow.db", (layout.root.resolve() / "mlartifacts").as_uri()
    if not path.is_file():
        return
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        places = [
            ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
            ("model_versions", "source"), ("model_versions", "storage_location"),
        ]  # fmt: skip
        if not {table for table, _ in places} <= tables:
            return
        rows = store.execute("SELECT artifact_location, name FROM experiments").fetchall()
        moved = {
            location.removesuffix(f"/{name}")
            for location, name in rows
            if location and location.startswith("file:") and location.endswith(f"/mlartifacts/{name}")
        } - {here}
        for old in moved:
            for table, column in places:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (here, len(old) + 1, len(old) + 1, f"{old}/"),
                )
            say(f"mlflow.db comes from {old.removesuffix('/mlartifacts')}: its artifacts are looked for here now")
        store.commit()
