"""Runs in MLflow that nothing needs any more. What registered models and baselines need is in `retention`.

Only runs that vrft has recorded in the project's own file are looked at: those of trainings and evaluations, and of
nights. Which project has recorded them they do not say, so those of a server are left alone.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from vrft_core import tracking
from vrft_core.cell import Layout
from vrft_core.disk import bytes_in
from vrft_core.errors import InputError
from vrft_core.retention import Needed, Old

KIND = "MLflow run"
NIGHTS = 7  # that the check of a night looks back
AT_ONCE = 500  # runs named on one command line
STARTED_FROM = "vrft.starting_weights"  # a tag of a run


def is_kept_here(layout: Layout) -> bool:
    """Whether the store is the project's own file, which may not be there yet."""
    return tracking.tracking_uri(layout) == f"sqlite:///{_own_file(layout)}"


def is_there(layout: Layout) -> bool:
    return not is_kept_here(layout) or _own_file(layout).is_file()


def registered(layout: Layout, needed: Needed) -> None:
    """Add what the registered models need: their weights, those they began with, their cells, their runs.

    Raises InputError where MLflow does not answer: what it needs is not known then.
    """
    with tracking.open_store(layout) as client:
        for version in _all(lambda token: client.search_model_versions("", page_token=token)):
            needed.cells |= {version.tags[name] for name in ("vrft.cell",) if name in version.tags}
            needed.digests |= {version.tags[name] for name in (tracking.DVC_DIGEST,) if name in version.tags}
            needed.launches |= {version.tags[name] for name in ("dagster.run",) if name in version.tags}
            if version.run_id:
                needed.records.add(version.run_id)
                tags = client.get_run(version.run_id).data.tags
                needed.digests |= {tags[name] for name in (STARTED_FROM, tracking.MODEL) if name in tags}


def old_runs(layout: Layout, needed: Needed, before: float) -> list[Old]:
    """Finished runs that ended before `before` (seconds since 1970) and are neither needed nor the last of their cell
    and stage, or of the last nights. None of a server's, which other projects may use, too."""
    if not is_kept_here(layout):
        return []
    waiting = {path.stem.rpartition("-")[0] or path.stem for path in (layout.root / "runs/tracking").glob("*.jsonl")}
    waiting |= {path.stem for path in (layout.root / "runs/tracking").glob("*.jsonl")}
    found: list[Old] = []
    with tracking.open_store(layout) as client:
        for experiment in _all(lambda token: client.search_experiments(page_token=token)):
            seen: dict[tuple[str, str], int] = {}
            page = partial(client.search_runs, [experiment.experiment_id], order_by=["attributes.start_time DESC"])
            for run in _all(lambda token, page=page: page(page_token=token)):
                tags, info = run.data.tags, run.info
                if (of := _what(tags, experiment.name)) is None or info.status not in ("FINISHED", "FAILED", "KILLED"):
                    continue
                seen[of] = seen.get(of, 0) + (info.status == "FINISHED")
                last = NIGHTS if of[0] == "nightly" else int(of[0] in needed.cells)
                why = _unneeded(of, seen[of] - (info.status == "FINISHED") >= last, needed)
                ended = (info.end_time or info.start_time) / 1000
                own = {info.run_id} & (needed.records | waiting) or tags.get(tracking.MODEL) in needed.digests
                if why and not own and ended < before:
                    found.append(Old(KIND, f"{info.run_name} ({info.run_id[:8]})", why, _size(info), id=info.run_id))
    return found


def _what(tags: dict[str, str], experiment: str) -> tuple[str, str] | None:
    """(cell, stage) that a run is about; None for one that is not this project's."""
    if "cell" in tags and "stage" in tags and tracking.KEY in tags:
        return tags["cell"], tags["stage"]
    return ("nightly", "") if experiment == "nightly" and "verdict" in tags else None


def _unneeded(of: tuple[str, str], later: bool, needed: Needed) -> str:
    if not later:
        return ""
    if of[0] == "nightly":
        return "an earlier night"
    return "a later run took its place" if of[0] in needed.cells else "no longer in the grid"


def remove_runs(layout: Layout, runs: list[str]) -> None:
    """Delete runs from the project's own file for good, with their artifacts."""
    with tracking.open_store(layout) as client:
        for run in runs:
            client.delete_run(run)
    uri = tracking.tracking_uri(layout)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri, "--run-ids"]
    for begin in range(0, len(runs), AT_ONCE):
        some = ",".join(runs[begin : begin + AT_ONCE])
        done = subprocess.run([*command, some], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise InputError("mlflow gc", last[:200], "the runs are marked as deleted; run it again")


def _size(info: Any) -> int:
    place = urlsplit(info.artifact_uri or "")
    return bytes_in(Path(unquote(place.path)).parent) if place.scheme in ("", "file") and place.path else 0


def _own_file(layout: Layout) -> Path:
    return layout.root.resolve() / "mlflow.db"


def _all(page: Callable[[str | None], Any]) -> Iterator[Any]:
    """Everything that MLflow gives page by page."""
    token = None
    while True:
        found = page(token)
        yield from found
        token = found.token
        if not token:
            return
