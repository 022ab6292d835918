"""What a job of a queue is, and what a place that has such a queue must be able to do.

What Slurm and Kubernetes share; each fills it in in its own modules, and `job_executor` runs work by it.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from pipelines.executors.failures import Cause
from vrft_core.errors import InputError
from vrft_core.job import attempts
from vrft_core.params import Resources

TRAININGS = ("sft", "rft")  # stages that several processes can share
SECONDS_TO_STOP = 6  # for a last checkpoint; a cancelled run has let go of its GPU within ten
SECONDS_OF_LAG = 60  # how much later than a job's end its files may be seen here
EVERY = 1.0  # seconds between looks at the files
# What a job must know besides its command. Nothing secret: it is written down with the job.
PASSED_ON = ("MLFLOW_TRACKING_URI", "HF_HOME", "HF_HUB_OFFLINE", "VRFT_VLLM_URL")
ACCELERATE = "--multi_gpu --mixed_precision no --dynamo_backend no"


class Refused(Exception):
    """The place will never run this job as it is asked for. The text is the place's own."""


class Unreachable(Exception):
    """The place does not answer now. Jobs go on without it."""


class Phase(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class Status:
    """What a place says of a job. `text` follows the job's name in a sentence: `is running on gpu1`.

    `cause` is that of an end without result. A job that waits and has a cause will never run: it is ended.
    """

    phase: Phase
    text: str
    cause: Cause | None = None


@dataclass(frozen=True)
class Job:
    """Everything a place needs to submit. Paths are the orchestrator's."""

    name: str  # lower case letters, digits and hyphens, at most 60
    root: Path
    folder: Path
    command: list[str]
    environment: dict[str, str]
    resources: Resources
    labels: dict[str, str]  # run, asset, partition: ties what the place shows to Dagster's pages
    accelerate: str = ACCELERATE  # options of `accelerate launch`, where there are several processes

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def processes(self) -> int:
        """Those of a training, one a GPU, or one a node without; everything else is one process."""
        trains = self.command[:2] == ["vrft", "stage"] and self.command[2] in TRAININGS
        return max(self.resources.gpus, 1) * self.resources.nodes if trains else 1


class Place(Protocol):
    """A queue. Every method raises Unreachable when it does not answer."""

    title: str
    every: float  # seconds between questions about a job

    def submit(self, job: Job) -> str:
        """Returns the job's id. Raises Refused."""
        ...

    def find(self, name: str) -> list[str]:
        """Ids of the jobs with this name that have not ended."""
        ...

    def look(self, id: str, folder: Path) -> Status: ...

    def cancel(self, id: str, now: bool) -> None:
        """End a job, waiting or running: with a warning first, or `now`. One that has ended is no error."""

    def cost(self, id: str, folder: Path, resources: Resources) -> Mapping[str, float]:
        """What an ended job used, as metadata."""
        ...


def refuse_control_characters(*values: object) -> None:
    """A batch script is read by lines, a manifest by people: a line end in a name would begin another line of theirs.

    `values`: strings, or mappings and sequences of them. Raises Refused.
    """
    for value in values:
        if isinstance(value, Mapping):
            refuse_control_characters(*value, *value.values())
        elif isinstance(value, list | tuple):
            refuse_control_characters(*value)
        elif found := re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", str(value)):
            raise Refused(f"{value!a} holds the control character {found[0]!a}")


def refuse_unwritable(job: Job) -> None:
    """See `refuse_control_characters`."""
    refuse_control_characters(
        *(job.name, job.root, job.folder, job.command, job.environment, job.labels, job.accelerate),
        *(value for value in job.resources.model_dump().values() if value is not None),
    )


def measured(folder: Path, resources: Resources) -> dict[str, float]:
    """What a job says of itself, over all its starts: seconds, GPU-hours, CPU-seconds, peak memory of one process.

    Further nodes note theirs in folders `node-1` and so on.
    """
    rows = attempts(folder)
    ends = [row for row in rows if "seconds" in row]
    seconds = sum(row["seconds"] for row in ends)
    everywhere = [row for node in folder.glob("node-*") for row in attempts(node) if "seconds" in row] + ends
    return {
        "starts": sum(row["event"] == "start" for row in rows),
        "seconds": round(seconds, 2),
        "gpu_hours": round(seconds * resources.gpus * resources.nodes / 3600, 4),
        "cpu_seconds": round(sum(row["cpu_seconds"] for row in everywhere), 2),
        "peak_memory_mb": max((row["peak_memory_mb"] for row in everywhere), default=0),
    }


def passed_on() -> dict[str, str]:
    """The part of this process's environment that every job gets.

    Raises InputError at an address with a user name or a password in it, which would be written down with the job.
    """
    found = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    for name, value in found.items():
        if re.match(r"[^/?#]+://[^/?#]*@", value):
            remedy = "take it out; jobs get MLFLOW_TRACKING_USERNAME and _PASSWORD by their setup file or template"
            raise InputError(name, "holds a login, which would be written down with each job", remedy)
    return found


def accelerate_options() -> str:
    """Those of the user, in VRFT_ACCELERATE. A job of one process is not told them: it would launch itself by them."""
    return os.environ.get("VRFT_ACCELERATE", ACCELERATE)


def job_name(root: Path, command: list[str]) -> str:
    """The same for the same command of the same project: `vrft-rft-lvis-mini-1shot-s0-1f0c9a2b`."""
    words = [word for word in command if word not in ("vrft", "stage", "--cell")]
    readable = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:45].rstrip("-")
    digest = hashlib.sha256(json.dumps([str(root), *command]).encode()).hexdigest()[:8]
    return f"vrft-{readable}-{digest}"
