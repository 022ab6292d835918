"""The pages of runs, and a note of the one in which each stage was last recorded."""

import contextlib
import os
from pathlib import Path

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.tracking.store import public, tracking_uri


def address(layout: Layout, key: str, method: str) -> str | None:
    """The page of the run in which a stage or an evaluation was last recorded, None where there is no such record.

    `key`: of the cell, or of the wider scope that the method belongs to. Where the store is a file, it is `make ui`'s.
    """
    try:
        found = io.read_json(_notes(layout) / f"{key}-{method}.json")
        return page(layout, found["uri"], found["experiment"], found["run"])
    except (InputError, OSError, KeyError, TypeError):
        return None


def note_address(layout: Layout, key: str, method: str, experiment: str, run: str) -> None:
    with contextlib.suppress(OSError):
        io.write_json(
            _notes(layout) / f"{key}-{method}.json",
            {"uri": public(tracking_uri(layout)), "experiment": experiment, "run": run},
        )


def page(layout: Layout, uri: str, experiment: str, run: str) -> str:
    """Of a run's page: on the server, or where the store is a file, on `make ui`'s."""
    pages = uri if uri.startswith("http") else f"http://127.0.0.1:{os.environ.get('VRFT_MLFLOW_PORT', 5000)}"
    return f"{pages.rstrip('/')}/#/experiments/{experiment}/runs/{run}"


def _notes(layout: Layout) -> Path:
    return layout.root / "runs/mlflow"
