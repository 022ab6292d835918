"""`vrft gc`: find what is no longer needed and was not touched for days; remove it when asked to.

What a registered model, a baseline or a cell of the present grid needs is kept: `retention` says what that is. DVC and
Dagster are asked through a program, which a minimal installation does not have.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec

from vrft_core import disk, old_records
from vrft_core.cell import SCOPES, Layout
from vrft_core.errors import InputError
from vrft_core.locks import alone_or_not, dvc_holder
from vrft_core.params import Params
from vrft_core.retention import Needed, Old, of_baselines, of_grid, old_files, running
from vrft_core.stages import project_lock

DAY = 86_400.0


@dataclass(frozen=True)
class Found:
    """`things` may go, or have gone; `notes`: what was left, and why."""

    things: list[Old]
    notes: list[str]


def gc(layout: Layout, params: Params, days: float, remove: bool) -> Found:
    """Find, and with `remove` remove, what is not needed and was not touched for `days`.

    Raises InputError where what is needed cannot be known, and for a removal while a stage, Dagster or DVC is at work.
    """
    if not remove:
        return _collect(layout, params, time.time() - days * DAY, False)
    with alone_or_not(project_lock(layout)) as alone:
        at_work = running(layout) or ([] if alone else ["another process"])
        at_work += [holder] if (holder := dvc_holder(layout.root)) else []
        if at_work:
            raise InputError(
                "vrft gc", f"something is at work: {', '.join(at_work)}", "wait until it has ended; nothing was removed"
            )
        return _collect(layout, params, time.time() - days * DAY, True)


def _collect(layout: Layout, params: Params, before: float, remove: bool) -> Found:
    needed = Needed(cells=of_grid(params))
    of_baselines(layout, needed)
    records: list[Old] = []
    notes: list[str] = []
    if not old_records.is_kept_here(layout):
        notes.append("MLflow's server may serve other projects: its runs are left as they are")
    if old_records.is_there(layout):
        old_records.registered(layout, needed)
        records = old_records.old_runs(layout, needed, before)
    files = list(old_files(layout, needed, before))
    if remove:
        for one in files:
            assert one.path
            shutil.rmtree(one.path) if one.path.is_dir() else one.path.unlink()
        if records:
            old_records.remove_runs(layout, [one.id for one in records])
    others, why = _others(layout, needed, before, remove)
    return Found([*files, *records, *others], notes + why)


def _others(layout: Layout, needed: Needed, before: float, remove: bool) -> tuple[list[Old], list[str]]:
    """Of DVC and Dagster."""
    if not (find_spec("dagster") and find_spec("dvc")):
        return [], ["Dagster or DVC is not installed: runs of the one and the cache of the other are left as they are"]
    asked = {"remove": remove, "before": before, "digests": sorted(needed.digests), "launches": sorted(needed.launches)}
    command = [sys.executable, "-m", "pipelines.retention", str(layout.root.resolve())]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [], [f"Dagster's runs and DVC's cache are left as they are: {last[:300]}"]
    things = [
        Old("Dagster run", f"{row['name']} ({row['id'][:8]})", "later runs took its place", row["bytes"], id=row["id"])
        for row in found["launches"]
    ]
    cache = found["cache"]
    if cache.get("objects"):
        things.append(
            Old("DVC cache", f"{cache['objects']} objects", "used by no branch, tag or model", cache["bytes"])
        )
    return things, [f"{cache['left']}; DVC's cache is left as it is"] if "left" in cache else []


def disk_use(layout: Layout, params: Params) -> list[tuple[str, dict[str, int]]]:
    """Key → bytes by kind: each cell, and what each wider scope has of its own."""
    keys = {cell.at(scope).key: cell.at(scope) for scope in (*reversed(SCOPES), "data") for cell in params.cells()}
    found = [(key, disk.of_cell(layout, cell)) for key, cell in keys.items()]
    return [(key, places) for key, places in found if any(places.values())]
