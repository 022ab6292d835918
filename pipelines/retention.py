"""`python -m pipelines.retention ROOT`: find, or remove, what is not needed of DVC's cache and of Dagster's runs.

The program behind `vrft gc`, which knows what is needed and says it on standard input as JSON: {"remove", "before"
(seconds since 1970), "digests", "launches" (Dagster's runs)}. It prints {"cache": {"objects", "bytes"} or {"left":
why}, "launches": [{"id", "name", "bytes"}]}.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from dagster_dvc.project import CannotTell
from pipelines.dvc_assets import partition
from pipelines.dvc_project import DvcProject
from vrft_core.disk import bytes_in
from vrft_core.params import Params
from vrft_core.tasks import load_params

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def unused_cache(root: Path, asked: dict) -> dict:
    if not (root / ".dvc/config").is_file():
        return {"left": "this is no DVC project"}
    try:
        objects, size = DvcProject(root=str(root)).unused(asked["digests"], asked["before"], asked["remove"])
    except CannotTell as error:
        return {"left": str(error)}
    return {"objects": objects, "bytes": size}


def old_launches(instance: dg.DagsterInstance, params: Params, asked: dict) -> list[dict]:
    """Runs that ended before `before`; kept are those that `launches` names, and the last one of each asset, and of
    each partition that the grid has. Removed with their events and logs where `remove` is set."""
    keep = {*asked["launches"], *_latest(instance, params)}
    found = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=ENDED)):
        run, ended = record.dagster_run, record.end_time or record.update_timestamp.timestamp()
        if run.run_id in keep or ended >= asked["before"]:
            continue
        places = _places(instance, run.run_id)
        found.append({"id": run.run_id, "name": run.job_name, "bytes": bytes_in(*places)})
        if asked["remove"]:
            instance.delete_run(run.run_id)
            for place in places:
                shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    return found


def _latest(instance: dg.DagsterInstance, params: Params) -> Iterator[str]:
    """The runs that a page of an asset, or of one of its partitions in the grid, shows first."""
    known = {partition(cell.at(scope)) for cell in params.cells() for scope in ("cell", "study")}
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    for key in instance.get_asset_keys():
        by_partition = instance.event_log_storage.get_latest_storage_id_by_partition(key, made)
        ids = [number for name, number in by_partition.items() if name in known]
        wanted: list[Any] = [dg.AssetRecordsFilter(asset_key=key, storage_ids=ids)] if ids else []
        for which in (*wanted, key):
            found = instance.fetch_materializations(which, limit=max(len(ids), 1)).records
            yield from (record.event_log_entry.run_id for record in found)


def _places(instance: dg.DagsterInstance, run: str) -> list[Path]:
    """Where this machine keeps a run's events and logs."""
    found = [Path(instance.storage_directory()) / run]
    if isinstance(instance.event_log_storage, SqliteEventLogStorage):
        shard = Path(instance.event_log_storage.path_for_shard(run))
        found += shard.parent.glob(f"{shard.name}*")
    return [path for path in found if path.exists()]


def main(root: Path) -> int:
    asked = json.load(sys.stdin)
    found = {"cache": unused_cache(root, asked), "launches": []}
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(root / "dagster_home")))
    if (home / "dagster.yaml").is_file():
        with dg.DagsterInstance.get() as instance:
            found["launches"] = old_launches(instance, load_params(root / "params.yaml"), asked)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
