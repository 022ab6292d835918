"""What `vrft run` refuses before the first stage, and `vrft doctor` names: unknown rewards, changed labels."""

from pathlib import Path

from vrft_core.cell import Cell
from vrft_core.commands.cell_examples import Subject
from vrft_core.commands.checkups.finding import OK, Finding
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.sources import files, folders
from vrft_core.tasks import get_task


def settings(subject: Subject) -> Finding:
    """Rewards and the user's own files."""
    refuse(subject.params, subject.cell, subject.layout.root)
    own = "; images and labels are those of `vrft init`" if subject.cell.data == "own" else ""
    return Finding(OK, f"every reward exists{own}")


def refuse(params: Params, cell: Cell, root: Path) -> None:
    """Raises InputError for a reward that does not exist, and for a user's files that have changed."""
    task = get_task(params.task(cell))
    for name in params.task_settings(cell).rewards:
        try:
            task.rewards.get(name)
        except InputError as error:
            raise InputError(
                f"params.yaml: recipes.{cell.recipe}.tasks.{task.name}.rewards", error.problem, error.remedy
            ) from None
    benchmark = params.benchmarks[cell.benchmark]
    if benchmark.folder:
        folders.refuse_changed(benchmark.folder, root, cell.benchmark)
    elif benchmark.train:
        files.refuse_changed(benchmark, root, cell.benchmark)
