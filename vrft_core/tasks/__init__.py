"""The tasks: one package each, with the same parts (`task`). What has a `settings` module is one; no list of them."""

import pkgutil
from functools import cache
from pathlib import Path

from vrft_core.errors import InputError
from vrft_core.params import Params, TaskSettings
from vrft_core.tasks.task import Task

__all__ = ["DEFAULT", "Task", "get_task", "load_params", "names", "settings_models", "task_of_rules"]

DEFAULT = "detection"  # what a user's own data are taken for, unless told otherwise


@cache
def names() -> tuple[str, ...]:
    """Every task there is, by name."""
    packages = [Path(__path__[0], module.name) for module in pkgutil.iter_modules(__path__) if module.ispkg]
    return tuple(sorted(package.name for package in packages if (package / "settings.py").is_file()))


@cache
def get_task(name: str) -> Task:
    """Raises InputError naming the tasks that exist."""
    if name not in names():
        raise InputError("task", f"no task {name!r}", f"known: {', '.join(names())}")
    return Task(name, f"{__name__}.{name}")


def task_of_rules(rules: str) -> Task:
    """The task that counts by these rules (a task may have several). Raises InputError naming those that exist."""
    known = {one: name for name in names() for one in get_task(name).settings.RULES}
    if rules not in known:
        raise InputError("--rules", f"no {rules!r}", f"known: {', '.join(known)}")
    return get_task(known[rules])


def settings_models() -> dict[str, type[TaskSettings]]:
    """Task → what its settings in a recipe mean."""
    return {name: get_task(name).settings.Settings for name in names()}


def load_params(path: Path) -> Params:
    """`params.yaml` with every task's settings checked by the task. Raises InputError with the first wrong field."""
    return Params.load(path, settings_models())
