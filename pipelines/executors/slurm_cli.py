"""Slurm's own commands, here or through SSH on a login node, and what they answer as plain data.

What an answer means for a job of ours belongs to `slurm`.
"""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipelines.executors.jobs import Refused, Unreachable
from vrft_core.pauses import answer

PATIENCE = 60  # seconds for one command; Slurm's own retry within that
AWAY = re.compile(
    r"Unable to contact slurm controller|Unable to establish|Socket timed out|Connection (refused|timed out|reset)"
    r"|communication connection failure|Zero Bytes were transmitted|Transport endpoint|temporarily un(able|available)"
    r"|in standby mode|Protocol authentication error",
    re.IGNORECASE,
)
SSH_FAILED = 255


class Unknown(Exception):
    """Slurm does not know the job, or not any more."""


@dataclass(frozen=True)
class JobInfo:
    """A job as Slurm describes it; `state` is one of its words, such as RUNNING or NODE_FAIL."""

    state: str
    reason: str = ""
    nodes: str = ""
    exit_code: str = ""  # "status:signal"
    restarts: int = 0


class SlurmCli:
    """`ssh`: a login node, `user@host`; None where the commands are installed here."""

    def __init__(self, ssh: str | None = None) -> None:
        self.ssh = ssh

    def submit(self, script: Path) -> str:
        """The new job's id. Raises Refused with Slurm's words."""
        done = self._run("sbatch", "--parsable", str(script))
        if done.returncode:
            lines = [line.removeprefix("sbatch: error: ") for line in done.stderr.splitlines() if line.strip()]
            raise Refused("; ".join(lines).removeprefix("Batch job submission failed: "))
        return done.stdout.split(";")[0].strip()

    def named(self, name: str) -> list[str]:
        """Ids of this name's jobs that wait, run or are being cleaned up after."""
        done = self._run("squeue", "--noheader", "--format=%A", f"--name={name}")
        if done.returncode:
            raise Refused(done.stderr.strip().splitlines()[-1])
        return list(dict.fromkeys(done.stdout.split()))

    def show(self, id: str) -> JobInfo:
        """From the controller, which forgets a job some minutes after its end (MinJobAge). Raises Unknown."""
        done = self._run("scontrol", "show", "job", id, "--oneliner")
        if done.returncode:
            raise Unknown(done.stderr.strip())
        field = dict(re.findall(r"(\w+)=(\S*)", done.stdout.splitlines()[0]))
        return JobInfo(
            state=field["JobState"],
            reason=field.get("Reason", "").removeprefix("None"),
            nodes=field.get("NodeList", "").replace("(null)", ""),
            exit_code=field.get("ExitCode", ""),
            restarts=int(field.get("Restarts", 0)),
        )

    def remembered(self, id: str) -> JobInfo:
        """From accounting, or from the job completion file where there is none. Raises Unknown."""
        for completion, columns in (((), "State,NodeList,ExitCode"), (("--completion",), "State,NodeList")):
            if lines := self._sacct(*completion, "--allocations", f"--jobs={id}", f"--format={columns}"):
                state, nodes, *code = lines[-1].split("|")
                return JobInfo(state=state.split()[0], nodes=nodes, exit_code="".join(code))
        raise Unknown(f"there is no record of job {id}")

    def usage(self, id: str) -> list[dict[str, str]]:
        """Accounting's rows of a job, its earlier starts included; none where there is no accounting."""
        columns = ("JobIDRaw", "ElapsedRaw", "TotalCPU", "MaxRSS")
        lines = self._sacct("--duplicates", f"--jobs={id}", f"--format={','.join(columns)}")
        return [dict(zip(columns, line.split("|"), strict=True)) for line in lines]

    def cancel(self, id: str, now: bool) -> None:
        """One that waits is gone. One that runs gets SIGTERM, or SIGKILL `now`: once plain `scancel` has begun,
        Slurm lets the job have its KillWait and takes no further signal."""
        self._run("scancel", "--state=PENDING", id)
        self._run("scancel", f"--signal={'KILL' if now else 'TERM'}", "--full", id)

    def _sacct(self, *arguments: str) -> list[str]:
        """Its lines; none where there is no accounting, or not even the program."""
        try:
            done = self._run("sacct", "--noheader", "--parsable2", *arguments)
        except Refused:
            return []
        return [line for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []

    def _run(self, *command: str) -> subprocess.CompletedProcess:
        """Raises Unreachable when the controller or the login node does not answer."""
        words = ["ssh", "-o", "BatchMode=yes", self.ssh, shlex.join(command)] if self.ssh else list(command)
        try:
            found = answer(words, PATIENCE, whole=command[0] == "sbatch")  # else its job would have no id
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{shlex.join(command)}: no answer within {PATIENCE} s") from None
        except FileNotFoundError:
            raise Refused(f"there is no program {words[0]!r} here; install it, or set VRFT_SLURM_SSH") from None
        texts = (said.decode("utf-8", "replace") for said in (found.stdout, found.stderr))
        done = subprocess.CompletedProcess(words, found.returncode, *texts)
        away = done.returncode and (AWAY.search(done.stderr) or (self.ssh and done.returncode == SSH_FAILED))
        if away:
            raise Unreachable(done.stderr.strip())
        if self.ssh and done.returncode == 127:
            raise Refused(f"{self.ssh} has no program {command[0]!r}")
        return done
