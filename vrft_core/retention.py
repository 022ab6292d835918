"""What must stay: which models, cells and records are needed; and what in `runs/` is not, and is old.

Nothing is removed here, and nothing of MLflow, DVC or Dagster is looked at but what is registered: see `commands.gc`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from vrft_core import io
from vrft_core.cell import SCOPES, Layout
from vrft_core.disk import bytes_in
from vrft_core.errors import InputError
from vrft_core.locks import is_held
from vrft_core.outcomes import outcome
from vrft_core.params import Params
from vrft_core.training.record import ROLLOUTS

ASIDE = re.compile(r"-[0-9a-f]{12}(\.\d+)?$")  # see `run_folder`
GOLDEN = "golden-"  # folders of the short training of a night


@dataclass
class Needed:
    """`cells`: keys of any scope; `digests`: DVC's, of models; `records`: ids of MLflow's runs; `launches`: of
    Dagster's."""

    cells: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    records: set[str] = field(default_factory=set)
    launches: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Old:
    """One thing that may go. `path` or `id` says which."""

    kind: str
    name: str
    why: str
    bytes: int
    path: Path | None = None
    id: str = ""


def of_grid(params: Params) -> set[str]:
    """The keys of all cells of the grid, and of the wider scopes."""
    return {cell.at(scope).key for cell in params.cells() for scope in (*SCOPES, "data")}


def of_baselines(layout: Layout, needed: Needed) -> None:
    """Add the models that baselines were recorded of, and what their golden curves began with.

    Raises InputError where a baseline cannot be read: what it needs is not known then.
    """
    for about in sorted((layout.root / "baselines").glob("*/about.json")):
        needed.cells.add(about.parent.name)
        golden = about.with_name("golden.json")
        found = [_object(about).get("model"), *(_object(golden).get("inputs", {}).values() if golden.is_file() else ())]
        needed.digests |= {digest for digest in found if isinstance(digest, str)}


def old_files(layout: Layout, needed: Needed, before: float) -> Iterator[Old]:
    """Folders and files in `runs/` that no needed cell is continued from, and that nobody has written in since `before`
    (seconds since 1970): runs moved aside, runs of cells that are not needed, rollouts of finished trainings.

    Rollouts stay where MLflow is not installed or records wait to be sent to it: it may have no copy then.
    """
    copied = find_spec("mlflow") is not None and not any((layout.root / "runs/tracking").glob("*.jsonl"))
    for folder in sorted((layout.root / "runs").glob("*/")):
        if folder.is_symlink():
            continue
        if folder.name.startswith(GOLDEN):
            yield from _if_old(layout, folder, "run folder", "left by a process that was killed", before)
            continue
        if not any(folder.glob("*.lock")):  # no stage has run here: jobs of a cluster, records that wait for MLflow
            continue
        if folder.name not in needed.cells:
            yield from _if_old(layout, folder, "run folder", "no longer in the grid", before)
            continue
        for run in sorted(folder.glob("*/")):
            if ASIDE.search(run.name):
                yield from _if_old(layout, run, "run folder", "of other settings or data", before)
            elif copied and (run / ROLLOUTS).is_file() and "seconds" in outcome(run.with_suffix(".outcome.json")):
                yield from _if_old(layout, run / ROLLOUTS, "rollouts", "of a finished training", before)


def _if_old(layout: Layout, path: Path, kind: str, why: str, before: float) -> Iterator[Old]:
    files = [path, *path.rglob("*")]
    if any(file.suffix == ".lock" and is_held(file) for file in files):
        return
    try:
        newest = max(file.lstat().st_mtime for file in files)
    except FileNotFoundError:  # a stage is at work there
        return
    if newest < before:
        yield Old(kind, path.relative_to(layout.root).as_posix(), why, bytes_in(path), path=path)


def running(layout: Layout) -> list[str]:
    """The stages that run now, as `lvis-mini-1shot-s0 rft`, and whether Dagster runs some on this machine."""
    runs = layout.root / "runs"
    found = [f"{lock.parent.name} {lock.stem}" for lock in sorted(runs.glob("*/*.lock")) if is_held(lock)]
    found += ["nightly"] if is_held(runs / "nightly.lock") else []
    launches = (layout.root / ".dvc/tmp/vrft").rglob("*.lock")
    return [*found, *(["a run of Dagster's"] if any(map(is_held, launches)) else [])]


def _object(path: Path) -> dict:
    found = io.read_json(path)
    if not isinstance(found, dict):
        raise InputError(path, "is not a JSON object", "record the baseline again")
    return found
