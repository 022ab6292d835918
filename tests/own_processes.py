"""Processes of their own for what tests kill, and free ports for what they start."""

import multiprocessing
import socket
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path


def in_own_process(function: Callable, *arguments: object, **options: object) -> BaseProcess:
    """Started; fresh, but with the libraries of training loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["vrft_core.training.rft", "vrft_core.training.sft", "peft", "mlflow.store.tracking.sqlalchemy_store"]
    )
    process = context.Process(target=function, args=arguments, kwargs=options)
    process.start()
    return process


def ended(*started: BaseProcess) -> list[int | None]:
    """Their exit codes, once they have ended."""
    for process in started:
        process.join(timeout=300)
    return [process.exitcode for process in started]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_for(root: Path) -> dict[int, str]:
    """Number → command line of all processes that were started for the project at `root` (`VRFT_ROOT`)."""
    wanted, found = f"VRFT_ROOT={root}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return {pid: line for pid, line in found.items() if line}
