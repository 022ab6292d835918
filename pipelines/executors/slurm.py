"""Slurm: one batch job a stage. The script is kept with the job, readable, and may be submitted again by hand.

Set from the environment, see docs/slurm.md: VRFT_SLURM_SSH, VRFT_SLURM_SETUP, VRFT_SLURM_WRAP; what each stage asks
for is in params.yaml. Slurm itself starts a job again after a node failure or a preemption (--requeue).
"""

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.executors.failures import Cause
from pipelines.executors.job_executor import JobExecutor
from pipelines.executors.jobs import (
    Job,
    Phase,
    Refused,
    Status,
    measured,
    refuse_control_characters,
    refuse_unwritable,
)
from pipelines.executors.slurm_cli import JobInfo, SlurmCli, Unknown
from vrft_core.job import attempts
from vrft_core.params import Resources

CAUSES = {
    "COMPLETED": None,
    "OUT_OF_MEMORY": Cause.MEMORY,
    "TIMEOUT": Cause.TIME,
    "DEADLINE": Cause.TIME,
    "CANCELLED": Cause.CANCELLED,
    "NODE_FAIL": Cause.MACHINE,
    "BOOT_FAIL": Cause.MACHINE,
    "LAUNCH_FAILED": Cause.MACHINE,
    "PREEMPTED": Cause.MACHINE,
    "FAILED": Cause.OWN,
}
RUNNING = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "SUSPENDED", "STOPPED"}
# Accepted, and yet nothing but a changed request or another setting of the cluster lets it run. PartitionNodeLimit is
# not among them: it is also the reason while nodes are down.
NEVER = re.compile(r"PartitionTimeLimit|BadConstraints|InvalidAccount|InvalidQOS|.*NotAllowed")
MEMORY = re.compile(r"exceeded job memory limit|oom[-_ ]kill|OutOfMemoryError: CUDA", re.IGNORECASE)
SECONDS_TO_SAVE = 300  # before the time limit, at most: for a last checkpoint
TAIL = 20_000  # bytes of a log in which Slurm's own lines are looked for


@dataclass(frozen=True)
class Site:
    """What a cluster wants besides a stage's resources.

    `setup`: a file of shell lines for each script, such as `module load cuda`, or a virtual environment's activation.
    `wrap`: words before the command, such as `apptainer exec --nv --bind /shared /shared/vrft.sif`.
    """

    ssh: str | None = None
    setup: Path | None = None
    wrap: str = ""

    @classmethod
    def from_environment(cls) -> "Site":
        setup = os.environ.get("VRFT_SLURM_SETUP")
        wrap = os.environ.get("VRFT_SLURM_WRAP", "")
        return cls(os.environ.get("VRFT_SLURM_SSH"), Path(setup) if setup else None, wrap)


def slurm_executor(root: Path) -> JobExecutor:
    return JobExecutor(root, Slurm(Site.from_environment()))


class Slurm:
    """The queue of one cluster. See `jobs.Place`."""

    title = "Slurm"
    every = 5.0

    def __init__(self, site: Site) -> None:
        self.site, self.cli = site, SlurmCli(site.ssh)

    def submit(self, job: Job) -> str:
        path = job.folder / "job.sh"
        path.write_text(script(job, self.site), encoding="utf-8")
        path.chmod(0o700)
        return self.cli.submit(path)

    def find(self, name: str) -> list[str]:
        return self.cli.named(name)

    def look(self, id: str, folder: Path) -> Status:
        try:
            job = self.cli.show(id)
        except Unknown:
            try:
                job = self.cli.remembered(id)
            except Unknown:
                return _by_its_own_notes(folder)
        return status(job, folder)

    def cancel(self, id: str, now: bool) -> None:
        self.cli.cancel(id, now)

    def cost(self, id: str, folder: Path, resources: Resources) -> Mapping[str, float]:
        """By accounting where there is some, else as the job measured itself."""
        cost, rows = measured(folder, resources), self.cli.usage(id)
        if not rows:
            return cost
        seconds = sum(int(row["ElapsedRaw"]) for row in rows if row["JobIDRaw"] == id)
        return cost | {
            "seconds": seconds,
            "gpu_hours": round(seconds * resources.gpus * resources.nodes / 3600, 4),
            "cpu_seconds": round(sum(cpu_seconds(row["TotalCPU"]) for row in rows if row["JobIDRaw"] == id), 2),
            "peak_memory_mb": max([cost.get("peak_memory_mb", 0), *(round(mebibytes(row["MaxRSS"])) for row in rows)]),
        }


def script(job: Job, site: Site) -> str:
    """The batch script: what is asked for, the environment, one command. Holds no secret.

    Raises Refused where a name holds a control character.
    """
    refuse_unwritable(job)
    comment = "Dagster " + ", ".join(f"{name} {value}" for name, value in job.labels.items())
    exports = [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    head = options(job.name, job.log.parent, job.log.name, job.resources, comment=comment)
    return "\n".join(["#!/bin/bash", *head, "", *environment(job.root, site), *exports, *start(job, site, "exec"), ""])


def options(name: str, folder: Path, log: str, need: Resources, **more: str) -> list[str]:
    """`#SBATCH` lines. `log` is the log's name in `folder`, and may hold Slurm's own `%a`."""
    gpus = f"gpu:{need.gpu_type}:{need.gpus}" if need.gpu_type else f"gpu:{need.gpus}"
    asked = {
        "job-name": name,
        **more,
        "output": f"{str(folder).replace('%', '%%')}/{log}",
        "open-mode": "append",
        "export": "NONE",
        "signal": f"B:USR1@{min(SECONDS_TO_SAVE, need.minutes * 60 // 10)}",
        "nodes": need.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": need.cpus,
        "mem": f"{need.memory_mb}M",
        "time": need.minutes,
        "gres": gpus if need.gpus else None,
        "partition": need.partition,
        "account": need.account,
        "qos": need.qos,
    }
    lines = [f"#SBATCH --{option}={shlex.quote(str(value))}" for option, value in asked.items() if value is not None]
    return [*lines, "#SBATCH --requeue"]


def environment(root: Path, site: Site) -> list[str]:
    """Lines that every script begins with. A site's own may use variables that are not set, as module files do."""
    refuse_control_characters(root, site.setup or "", site.wrap)
    setup = ["set +u", f"# from {site.setup}", *_lines(site.setup), "set -u"] if site.setup else []
    return [
        "set -euo pipefail",
        f"cd {shlex.quote(str(root))}",
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH PYTHONUNBUFFERED=1",
        *setup,
        f"export PYTHONPATH={shlex.quote(str(root))}${{PYTHONPATH:+:$PYTHONPATH}}",  # the code that DVC records
    ]


def start(job: Job, site: Site, how: str) -> list[str]:
    """Lines that start the command; `how`: the shell's word for it, such as `exec`."""
    if job.processes > 1:
        return _several_processes(job, site, how)
    return [_words(how, site.wrap, shlex.join(["python", "-m", "vrft_core.job", str(job.folder), *job.command]))]


def _several_processes(job: Job, site: Site, how: str) -> list[str]:
    """The command once a node; it starts its processes itself, by `accelerate launch` (VRFT_ACCELERATE).

    Each node measures itself; the first one's notes are the job's.
    """
    need = job.resources
    told = (
        f"--num_machines {need.nodes} --num_processes {job.processes} --machine_rank $SLURM_NODEID "
        "--main_process_ip $MASTER_ADDR --main_process_port $MASTER_PORT --rdzv_backend static"
    )
    on_each = [
        'folder=$0; [ "$SLURM_NODEID" = 0 ] || folder=$0/node-$SLURM_NODEID',
        f'export VRFT_ACCELERATE={shlex.quote(job.accelerate)}" {told}"',
        "exec " + _words(site.wrap, f'python -m vrft_core.job "$folder" {shlex.join(job.command)}'),
    ]
    return [
        "export SLURM_EXPORT_ENV=ALL",
        'first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        'export MASTER_ADDR=$(scontrol show node "$first" --oneliner | grep -o "NodeAddr=[^ ]*" | cut -d= -f2)',
        "export MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))",  # below those that the kernel gives to callers
        f"{how} srun --ntasks-per-node=1 --cpus-per-task={need.cpus} --kill-on-bad-exit=1 bash -c "
        f"{shlex.quote(chr(10).join(on_each))} {shlex.quote(str(job.folder))}",
    ]


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def status(job: JobInfo, folder: Path) -> Status:
    """What Slurm's state means. A job that failed says more in its own notes and in its log."""
    state, on = job.state.rstrip("+"), f" on {job.nodes}" if job.nodes else ""
    if state not in CAUSES and state in RUNNING:
        return Status(Phase.RUNNING, f"is {state.lower()}{on}")
    if state not in CAUSES:
        why = f" ({job.reason})" if job.reason else ""
        if NEVER.fullmatch(job.reason):
            return Status(Phase.WAITING, f"will never run{why}", Cause.REFUSED)
        again = f", to start again after {job.restarts} start(s)" if job.restarts else ""
        return Status(Phase.WAITING, f"is {state.lower()}{why}{again}")
    cause, words = CAUSES[state], f"has ended: {state}{f' ({job.reason})' if job.reason else ''}{on}"
    ends = [row for row in attempts(folder) if row["event"] == "end"]
    if cause is Cause.OWN:
        if MEMORY.search(_tail(folder / "log.txt")):
            return Status(Phase.ENDED, f"{words}, out of memory", Cause.MEMORY)
        if ends and ends[-1].get("warned") == "SIGUSR1":
            return Status(Phase.ENDED, f"{words}, its time limit being near", Cause.TIME)
        if job.reason == "JobLaunchFailure":
            cause = Cause.MACHINE
    return Status(Phase.ENDED, words, cause)


def _by_its_own_notes(folder: Path) -> Status:
    """For a job that nobody remembers: as it noted its end itself."""
    rows = attempts(folder)
    if not rows or rows[-1]["event"] != "end":
        return Status(Phase.ENDED, "is not known to Slurm any more, and has not noted its end", Cause.MACHINE)
    code = rows[-1]["status"]
    return Status(Phase.ENDED, f"noted its end with status {code}", Cause.OWN if code else None)


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Refused(f"VRFT_SLURM_SETUP={path} cannot be read: {error.strerror}") from None


def cpu_seconds(text: str) -> float:
    """Slurm's `[days-][hours:]minutes:seconds`."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = seconds * 60 + float(part or 0)
    return seconds + 86400 * int(days or 0)


def mebibytes(text: str) -> float:
    """Slurm's `812340K`; an empty text is 0."""
    match = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(match[1]) * {"": 2**-20, "K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}[match[2]] if match else 0.0
