"""A real Slurm on this machine, from ../shared/tools/slurm: three nodes of 2 GPUs, 4 CPUs and 8 GB that need not exist.

Partitions: `gpu` and, of lower priority and preemptible, `spot` on gpu1 and gpu2; `frail` on gpu3, which is to be lost.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from one_at_a_time import one_at_a_time

TOOLS = Path(__file__).parents[2] / "shared/tools/slurm"


class Cluster:
    def __init__(self, root: Path) -> None:
        self.root, self.conf = root, root / "etc/slurm.conf"
        self.environment = {**os.environ, "SLURM_ROOT": str(root), "SLURM_NODES": "3"}

    def up(self) -> None:
        with one_at_a_time("cluster-up"):
            self._tool("up.sh", SLURM_BASEPORT=str(_free_ports()))
        os.environ["SLURM_CONF"] = str(self.conf)
        partitions = self.conf.read_text().replace("Nodes=gpu[1-3]", "Nodes=gpu[1-2]")
        self.conf.write_text(f"{partitions}PartitionName=frail Nodes=gpu3 MaxTime=60 State=UP\n")
        self.run("scontrol", "reconfigure")

    def down(self) -> None:
        self._tool("down.sh")

    def _tool(self, name: str, **variables: str) -> None:
        done = subprocess.run(
            ["bash", str(TOOLS / name)],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr

    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def field(self, job: str, name: str) -> str:
        return re.search(rf"\b{name}=(\S*)", self.run("scontrol", "show", "job", job, "--oneliner"))[1]

    def gpus_in_use(self) -> int:
        used = self.run("sinfo", "--noheader", "--Node", "--partition=gpu", "--Format=GresUsed")
        return sum(int(number) for number in re.findall(r"gpu:fake:(\d+)", used))

    def seconds_from_cancel_to_end(self, job: str) -> float:
        log = (self.root / "log/slurmctld.log").read_text()
        asked = re.search(rf"\[(\S+)\] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job} ", log)[1]
        return (datetime.fromisoformat(self.field(job, "EndTime")) - datetime.fromisoformat(asked)).total_seconds()

    def let_run_again(self, job: str) -> None:
        """Slurm keeps a job that it requeued for two minutes; here it need not."""
        wait(lambda: self.field(job, "Restarts") != "0")
        wait(lambda: self.field(job, "JobState") != "COMPLETING")
        if self.field(job, "JobState") == "PENDING":
            self.run("scontrol", "update", f"JobId={job}", "StartTime=now")

    def lose(self, node: str, *jobs: str) -> None:
        """As if its power went: the daemon, the jobs' keepers and all they started."""
        victims = [self._daemon(node)]
        for keeper in _processes(rf"^slurmstepd: \[({'|'.join(jobs)})\."):
            victims += [keeper, *_children(keeper)]
        for victim in victims:
            _kill(victim)

    def bring_back(self, node: str) -> None:
        """Once Slurm has found it missing; from one that is back at once it would learn of its lost jobs much later."""
        if not _alive(self._daemon(node)):
            wait(lambda: "DOWN" in self.run("scontrol", "show", "node", node, "--oneliner"))
            subprocess.run(["slurmd", "-N", node], check=True)

    def _daemon(self, node: str) -> int:
        return int((self.root / f"run/slurmd.{node}.pid").read_text())

    def stop_controller(self) -> None:
        pid = int((self.root / "run/slurmctld.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait(lambda: not _alive(pid))

    def start_controller(self) -> None:
        subprocess.run(["slurmctld"], check=True)


def wait(for_what: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def _free_ports() -> int:
    """The first of twenty ports that nobody has now, below those that the kernel gives to callers and above those that
    the first hundreds of trainings take."""
    for number in range(550):
        first = 21000 + (os.getpid() + number) % 550 * 20
        if all(_free(port) for port in range(first, first + 20)):
            return first
    raise AssertionError("no twenty free ports in a row")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _processes(title: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if re.search(title, (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found += [int(path.name), *_children(int(path.name))]
        except OSError:
            continue
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
