"""Running work as a job of a queue: submit once, follow, report what happens, leave nothing behind.

A job's folder, `runs/jobs/<name>/<number>-<run>/` on shared storage, holds its script or manifest, its log, its Pipes
messages and its record. A job is named after its command, not after the Dagster run: a later run that wants the same
work finds the job of an orchestrator that died, and takes it over or ends it.
"""

import json
import math
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import dagster as dg

from pipelines.executors import jobs
from pipelines.executors.failures import INPUT_ERROR, Cause, job_failure, own_failure
from pipelines.executors.jobs import (
    SECONDS_OF_LAG,
    SECONDS_TO_STOP,
    Job,
    Phase,
    Place,
    Refused,
    Status,
    Unreachable,
    accelerate_options,
    job_name,
    measured,
    passed_on,
)
from pipelines.executors.pipes_files import FileMessages, JobLog
from pipelines.executors.work import Work
from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.job import attempts
from vrft_core.locks import exclusive
from vrft_core.pauses import pause

T = TypeVar("T")
RECORD = "job.json"
SECONDS_TO_STOP_ASKING = 30  # for a place that does not answer, when the run is to end


@dataclass(frozen=True)
class Record:
    """A job as it was submitted. `id` is None while it is not known whether it was; `settled`: nothing is left to do.

    `inputs` says what the work was done with: an unwatched job's result may be taken where they are equal.
    """

    folder: Path
    inputs: str
    run_id: str
    id: str | None = None
    settled: bool = False

    def save(self) -> "Record":
        io.write_json(self.folder / RECORD, {**asdict(self), "folder": self.folder.name})
        return self

    @classmethod
    def latest(cls, folder: Path) -> "Record | None":
        found = sorted(folder.glob(f"*/{RECORD}"))
        return cls(**{**json.loads(found[-1].read_text()), "folder": found[-1].parent}) if found else None


class JobExecutor(dg.PipesClient):
    """An executor over a place. Used by one orchestrator host at a time for one project."""

    def __init__(self, root: Path, place: Place) -> None:
        self.root, self.place = root, place

    def run(self, *, context: dg.AssetExecutionContext, work: Work) -> dg.PipesClientCompletedInvocation:
        """See `Executor.run`. The machine's fault is raised as dg.RetryRequested."""
        try:
            environment = passed_on()
        except InputError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        name = job_name(self.root, work.command)
        with exclusive(self.root / f".dvc/tmp/vrft/{name}.lock", name):
            try:
                return Watch(self.root, self.place, context, name, work, environment).run()
            except Refused as error:
                what = f"{self.place.title} cannot run `{shlex.join(work.command)}`: {error}"
                raise job_failure(Cause.REFUSED, what, [], "see `resources` in params.yaml") from None


class Watch:
    """One job from here to its end."""

    def __init__(
        self, root: Path, place: Place, context: dg.AssetExecutionContext, name: str, work: Work, environment: dict
    ) -> None:
        self.root, self.place, self.context, self.name = root, place, context, name
        self.work, self.environment = work, environment
        self.inputs = work.inputs()
        self.jobs = root / "runs/jobs" / name
        self.patience = math.inf  # an orchestrator that watches a job has all the time

    def run(self) -> dg.PipesClientCompletedInvocation:
        self.record = self._take_over() or self._new()
        messages = FileMessages(self.record.folder / "messages.jsonl")
        try:
            with dg.open_pipes_session(
                context=self.context, context_injector=dg.PipesEnvContextInjector(), message_reader=messages
            ) as session:
                if self.record.id is None:
                    self.work.prepare()
                    self._submit(dict(session.get_bootstrap_env_vars()))
                log = JobLog(self.record.folder / "log.txt")
                status = self._follow(self.id, messages, log)
                if status.cause:
                    raise self._failure(status, status.cause, list(log.last_lines))
                self._wait_for_files(messages, log)
        except (dg.Failure, dg.RetryRequested, Refused):
            self._settle()
            raise
        except BaseException:  # Dagster's interruption is one of these: a cancelled run leaves nothing running
            self._stop()
            raise
        cost = self._cost()
        self.work.commit()
        self._settle()
        where: dict[str, dg.MetadataValue | str | float] = {
            "job": f"{self.place.title} {self.record.id}",
            "log": dg.MetadataValue.path(str(self.record.folder / "log.txt")),
        }
        return dg.PipesClientCompletedInvocation(session, metadata={**where, **cost})

    @property
    def id(self) -> str:
        """Known once it is submitted."""
        assert self.record.id is not None
        return self.record.id

    def _take_over(self) -> Record | None:
        """The job that an earlier orchestrator left, if its work is the work wanted; any other one is ended."""
        alive = self._insist(lambda: self.place.find(self.name))
        record = Record.latest(self.jobs)
        mine = None
        if record and not record.settled and record.inputs == self.inputs:
            if record.id is None and alive:
                record = replace(record, id=alive[0]).save()
            if record.id in alive:
                mine = record
                self._say(record.id, f"was submitted by run {record.run_id} and has not ended: it is watched from here")
            elif record.id and self._look(record.id, record.folder).cause is None:
                mine = record
                self._say(record.id, f"was submitted by run {record.run_id} and has ended well: its result is taken")
        for id in alive:
            if not mine or id != mine.id:
                self._say(id, "was left by an earlier run and does other work than is wanted now: it is ended")
                self._end(id)
        return mine

    def _look(self, id: str, folder: Path, *pumped: FileMessages | JobLog) -> Status:
        return self._insist(lambda: self.place.look(id, folder), *pumped)

    def _new(self) -> Record:
        run_id = self.context.run_id
        number = 1 + max((int(folder.name[:5]) for folder in self.jobs.glob("[0-9]" * 5 + "-*")), default=0)
        folder = self.jobs / f"{number:05}-{run_id[:8]}"
        folder.mkdir(parents=True)
        return Record(folder, self.inputs, run_id)

    def _submit(self, pipes: dict[str, str]) -> None:
        labels = {"run": self.context.run_id, "asset": self.context.asset_key.to_user_string()}
        if self.context.has_partition_key:
            labels["partition"] = self.context.partition_key
        folder, work, told = self.record.folder, self.work, self.environment | pipes
        job = Job(self.name, self.root, folder, work.command, told, work.resources, labels, accelerate_options())
        self.record.save()  # from here on the job is found, whatever happens

        def submit() -> str:
            # A lost reply must not lead to a second job.
            return next(iter(self.place.find(self.name)), None) or self.place.submit(job)

        id = self._insist(submit)
        self.record = replace(self.record, id=id).save()
        self._say(id, f"({self.name}) is submitted; its files lie in {folder}")

    def _follow(self, id: str, messages: FileMessages, log: JobLog) -> Status:
        """Pass on what the job says and what its place says of it, until it ends."""
        folder, said, asked, ends = self.record.folder, "", 0.0, -1
        while True:
            messages.pump()
            log.pump()
            ended = len(attempts(folder))
            if time.monotonic() - asked > self.place.every or ended != ends:
                status = self._look(id, folder, messages, log)
                asked, ends = time.monotonic(), ended
                if status.text != said:
                    said = status.text
                    self._say(id, said)
                if status.phase is Phase.WAITING and status.cause:
                    self._end(id)
                    return status
                if status.phase is Phase.ENDED:
                    messages.pump()
                    log.pump(rest=True)
                    return status
            pause(jobs.EVERY)

    def _wait_for_files(self, messages: FileMessages, log: JobLog) -> None:
        """A command that ended well has closed its messages; shared storage may show it later."""
        reports = messages.path.exists()
        deadline = time.monotonic() + SECONDS_OF_LAG
        while reports and not messages.closed and time.monotonic() < deadline:
            pause(jobs.EVERY)
            messages.pump()
        log.pump(rest=True)

    def _failure(self, status: Status, cause: Cause, last_lines: list[str]) -> Exception:
        ends = [row for row in attempts(self.record.folder) if row["event"] == "end"]
        code = ends[-1]["status"] if ends else None
        what = f"{self.place.title} job {self.record.id} {status.text}"
        if cause is Cause.OWN:
            if code is None or code > 128 or (code == INPUT_ERROR and not last_lines):
                return job_failure(Cause.OWN, what, last_lines)
            return own_failure(self.work.command, code, last_lines, f" in {self.place.title} job {self.record.id}")
        asked = self.work.resources
        remedy = {
            Cause.MEMORY: f"it had {asked.memory}: raise `memory` under `resources` in params.yaml",
            Cause.REFUSED: "see `resources` in params.yaml",
            Cause.TIME: f"it had {asked.time}: start again to resume from the last checkpoint, or raise `time` "
            "under `resources` in params.yaml",
        }.get(cause, "")
        return job_failure(cause, what, last_lines, remedy)

    def _cost(self) -> Mapping[str, float]:
        """Asked for once: a finished result does not wait for accounting."""
        try:
            return self.place.cost(self.id, self.record.folder, self.work.resources)
        except (Unreachable, Refused) as error:
            self.context.log.warning(
                f"{self.place.title} does not tell the cost; the job's own measure is taken: {error}"
            )
            return measured(self.record.folder, self.work.resources)

    def _stop(self) -> None:
        """End the job because the run is. Where that cannot be done now, the next run of this work will."""
        if not (self.record.folder / RECORD).exists():
            return
        self.patience = SECONDS_TO_STOP_ASKING
        try:
            # One that was interrupted while it was being submitted has no id yet.
            for id in [self.record.id] if self.record.id else self._insist(lambda: self.place.find(self.name)):
                self._say(id, "is ended, since the run is")
                self._end(id)
        except Unreachable:
            self.context.log.error(f"{self.place.title} does not answer: job {self.record.id or self.name} may run on")
        else:
            self._settle()

    def _end(self, id: str) -> None:
        """End the job, by force if needed; return when it is gone."""
        for now in (False, True):
            self._insist(lambda now=now: self.place.cancel(id, now))
            deadline = time.monotonic() + SECONDS_TO_STOP
            while now or time.monotonic() < deadline:
                if id not in self._insist(lambda: self.place.find(self.name)):
                    return
                pause(jobs.EVERY / 2)

    def _settle(self) -> None:
        if (self.record.folder / RECORD).exists():
            self.record = replace(self.record, settled=True).save()

    def _insist(self, ask: Callable[[], T], *pumped: FileMessages | JobLog) -> T:
        """Ask a place until it answers; the job, its messages and its log go on meanwhile.

        Raises Unreachable where patience ends.
        """
        away = 0.0
        while True:
            try:
                answer = ask()
            except Unreachable as error:
                if away and time.monotonic() - away > self.patience:
                    raise
                if not away:
                    away = time.monotonic()
                    self.context.log.warning(f"{self.place.title} does not answer, still trying: {error}")
                for source in pumped:
                    source.pump()
                pause(jobs.EVERY)
                continue
            if away:
                self.context.log.info(f"{self.place.title} answers again after {time.monotonic() - away:.0f} s")
            return answer

    def _say(self, id: str, what: str) -> None:
        self.context.log.info(f"{self.place.title} job {id} {what}")
