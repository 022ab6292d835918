"""`python -m pipelines.executors.slurm_sweep lvis-mini-1shot`: what a study lacks, as one job array, a task a seed.

Each task trains and evaluates its cell, SFT and RFT, with what RFT asks for. What comes out is committed to DVC, so
that Dagster and `vrft run` find it done; what lies upstream must be up to date before.
"""

import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pipelines.definitions import project_root
from pipelines.dvc_project import DvcProject
from pipelines.executors.failures import Cause
from pipelines.executors.jobs import (
    SECONDS_OF_LAG,
    Job,
    Refused,
    Unreachable,
    accelerate_options,
    job_name,
    passed_on,
    refuse_unwritable,
)
from pipelines.executors.slurm import Site, environment, options, start, status
from pipelines.executors.slurm_cli import SlurmCli, Unknown
from vrft_core.cell import Cell
from vrft_core.errors import InputError
from vrft_core.job import attempts
from vrft_core.params import Params, Resources
from vrft_core.tasks import load_params

EVERY = 5.0  # seconds between questions
# Warnings go to the command at hand; the shell itself would end by them. As USR1, which srun passes on.
RUN = """\
trap 'kill -USR1 $child 2>/dev/null || true' USR1 TERM
run() {
  "$@" &
  child=$! status=0
  wait $child || status=$?
  while kill -0 $child 2>/dev/null; do status=0; wait $child || status=$?; done
  return $status
}"""
STAGES = ("sft", "sft_eval", "rft", "rft_eval")  # what differs between seeds and wants a GPU, in this order


def sweep(root: Path, study: str) -> list[str]:
    """Bring a study's trainings and evaluations up to date; returns a line for each stage that failed.

    Raises InputError where there is no such study or something upstream must be made first.
    """
    params, project, site = load_params(root / "params.yaml"), DvcProject(root=str(root)), Site.from_environment()
    wanted = params.parse_cell(study).at("study")
    keys = [cell.key for cell in params.cells() if cell.at("study") == wanted]
    with ExitStack() as locks:
        for target in (f"{stage}@{key}" for key in keys for stage in STAGES):
            locks.enter_context(project.alone(target))
        todo = {key: stages for key in keys if (stages := _stale(project, key))}
        if not todo:
            return []
        cli, name = SlurmCli(site.ssh), job_name(root, ["sweep", study])
        if left := cli.named(name):
            raise InputError(f"Slurm job {left[0]}", "an earlier sweep of this study runs on", f"scancel {left[0]}")
        folder = root / "runs/jobs" / name / time.strftime("%Y%m%d-%H%M%S")
        folder.mkdir(parents=True)
        path = folder / "job.sh"
        path.write_text(script(root, folder, todo, _resources(params, wanted), site), encoding="utf-8")
        path.chmod(0o700)
        for key, stages in todo.items():
            for stage in stages:
                project.clear(f"{stage}@{key}")
        id = cli.submit(path)
        print(f"Slurm job {id}: {', '.join(todo)}; files in {folder}", file=sys.stderr, flush=True)
        _wait(cli, name, id, folder)
        deadline = time.monotonic() + SECONDS_OF_LAG
        return [line for key, stages in todo.items() for line in _commit(project, folder, key, stages, deadline)]


def script(root: Path, folder: Path, todo: Mapping[str, list[str]], need: Resources, site: Site) -> str:
    """The array's batch script. Task i works on the i-th cell; a stage that fails ends its task."""
    cases, told = [], passed_on()
    for number, (key, stages) in enumerate(todo.items()):
        commands = {stage: ["vrft", "stage", stage, "--cell", key] for stage in stages}
        jobs = [
            Job(folder.parent.name, root, folder / key / stage, command, told, need, {}, accelerate_options())
            for stage, command in commands.items()
        ]
        for job in jobs:
            refuse_unwritable(job)
        cases += [f"{number})", *(f"  {line}" for job in jobs for line in start(job, site, "run")), "  ;;"]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in told.items()]
    head = options(folder.parent.name, folder, "log-%a.txt", need, array=f"0-{len(todo) - 1}")
    lines = ["#!/bin/bash", *head, "", *environment(root, site), *exports, RUN]
    return "\n".join([*lines, "case $SLURM_ARRAY_TASK_ID in", *cases, "esac", ""])


def _stale(project: DvcProject, key: str) -> list[str]:
    """Stages of a cell that must run. One whose model is to be made again cannot be asked about."""
    stages = project.stages()
    stale: list[str] = []
    for stage in STAGES:
        target = f"{stage}@{key}"
        if any(need in (f"{name}@{key}" for name in stale) for need in stages[target].needs):
            stale.append(stage)
            continue
        for need in stages[target].needs:
            if need.partition("@")[0] not in STAGES and not project.up_to_date(need):
                raise InputError(need, "is not up to date", f"make it first, in Dagster or with `dvc repro {need}`")
        if not project.up_to_date(target):
            stale.append(stage)
    return stale


def _resources(params: Params, study: Cell) -> Resources:
    """What RFT asks for, and the time of all stages together."""
    each = [params.resources_of(study.recipe, stage) for stage in STAGES]
    return params.resources_of(study.recipe, "rft").model_copy(update={"time": f"{sum(r.minutes for r in each)}m"})


def _wait(cli: SlurmCli, name: str, id: str, folder: Path) -> None:
    """Until no task waits or runs. Ctrl-C ends them all. Raises Refused where none ever can."""
    try:
        while True:
            try:
                if not cli.named(name):
                    return
                found = status(cli.show(id), folder)
                if found.cause is Cause.REFUSED:
                    raise Refused(f"Slurm job {id} {found.text}; see `resources` in params.yaml")
            except Unreachable as error:
                print(f"Slurm does not answer, still trying: {error}", file=sys.stderr)
            except Unknown:
                pass  # it has ended meanwhile
            time.sleep(EVERY)
    except BaseException:
        cli.cancel(id, now=False)
        raise


def _commit(project: DvcProject, folder: Path, key: str, stages: list[str], deadline: float) -> list[str]:
    """`deadline`: until then shared storage may be late with what a task wrote."""
    for stage in stages:
        while not (ended := _ended(folder / key / stage)) and time.monotonic() < deadline:
            time.sleep(EVERY)
        if not ended or ended["status"] != 0:
            return [f"{stage} of {key} did not end well; see {folder}/log-*.txt"]
        project.commit(f"{stage}@{key}")
    return []


def _ended(folder: Path) -> dict | None:
    rows = attempts(folder)
    return rows[-1] if rows and rows[-1]["event"] == "end" else None


def main(study: str) -> int:
    try:
        failed = sweep(project_root(), study)
    except (InputError, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    except Unreachable as error:
        print(f"Slurm does not answer: {error}; a submitted job continues: `squeue --me`", file=sys.stderr)
        return 1
    print("\n".join(failed or [f"{study}: trained and evaluated"]), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pipelines.executors.slurm_sweep STUDY")
    sys.exit(main(sys.argv[1]))
