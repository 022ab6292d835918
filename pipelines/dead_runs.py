"""Runs that Dagster shows as running although their process is gone: killed, or lost with the machine.

A process that runs a cell holds a lock file which its run names; a run from Dagster's pages names its code server.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from vrft_core.locks import exclusive, is_held, say

LOCK = "vrft/lock"
OPEN = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@contextmanager
def alive(root: Path) -> Iterator[dict[str, str]]:
    """Tags for the runs of this process, which say that it lives for as long as the block lasts."""
    name = f"{uuid4().hex}.lock"
    with exclusive(_folder(root) / name, "this run", remove=True):
        yield {LOCK: name}


def end_dead_runs(instance: dg.DagsterInstance, root: Path, servers: bool = False) -> None:
    """Mark dead runs as failed and free what they hold, with a line for each.

    `servers`: also those from Dagster's pages whose code server is gone. They can only be told on its machine.
    """
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=OPEN)):
        lock, server = run.tags.get(LOCK), run.tags.get(GRPC_INFO_TAG)
        if lock:
            dead = not is_held(_folder(root) / Path(lock).name)
        else:
            dead = servers and server is not None and not _answers(json.loads(server))
        if dead:
            instance.report_run_failed(run, "Its process has ended without a word: killed, or lost with its machine.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            say(f"Dagster's run {run.run_id[:8]} was cut short; it is marked as failed")


def _folder(root: Path) -> Path:
    return root / ".dvc/tmp/vrft/runs"


def _answers(server: dict) -> bool:
    unix = server.get("socket")
    kind, where = (socket.AF_UNIX, unix) if unix else (socket.AF_INET, (server.get("host"), server.get("port")))
    try:
        with socket.socket(kind) as probe:
            probe.settimeout(5)
            probe.connect(where)
        return True
    except OSError:
        return False
