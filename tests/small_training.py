"""SFT and GRPO of the small policy, in this process or in one of its own that is killed."""

import os
import resource
import signal
from pathlib import Path

import pytest
from own_processes import ended, in_own_process
from small_policy import small_recipe, taught_policy

from vrft_core.errors import InputError
from vrft_core.params import Recipe
from vrft_core.tasks import get_task
from vrft_core.training import rft, sft
from vrft_core.training.loop import keep, train
from vrft_core.training.record import Record

TASK = get_task("detection")
MAKERS = {"sft": sft.make_trainer, "rft": rft.make_trainer}


@pytest.fixture(scope="module", name="project")
def taught_project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    taught_policy(root / "models/mini/policy", root / "prompts")
    return root


def run_training(root: Path, run: Path, method: str, recipe: Recipe, log=lambda step, numbers: None) -> Record:
    return train(
        MAKERS[method](recipe, TASK, run, 7),
        getattr(recipe, method),
        recipe,
        TASK,
        policy=root / "models/mini/policy",
        prompts=root / "prompts",
        run=run,
        seed=7,
        what=method,
        log=log,
    )


def changed(method: str, **changes) -> Recipe:
    """The small recipe with other settings of a method."""
    recipe = small_recipe()
    return recipe.model_copy(update={method: getattr(recipe, method).model_copy(update=changes)})


def _train_and_keep(
    root: Path,
    run: Path,
    method: str,
    kill_at: tuple[int, str] | None,
    largest_file: int | None = None,
    said: Path | None = None,
    how: int = signal.SIGKILL,
    changes: dict | None = None,
) -> None:
    """In a process of its own; kills itself when it is about to log `kill_at` = (step, name of a number).

    `largest_file` (bytes) makes writes fail as on a full disk; what the user is told then goes to `said`. `changes`
    are settings of the method other than the small recipe's.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the test run itself was started with
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    def log(step: int, numbers: dict) -> None:
        if kill_at and step == kill_at[0] and kill_at[1] in numbers:
            os.kill(os.getpid(), how)

    try:
        record = run_training(root, run, method, changed(method, **(changes or {})), log)
    except InputError as error:
        said.write_text(str(error))
        raise SystemExit(2) from None
    keep(run, record, "last", root / "models/mini/policy", run / "kept")


@pytest.fixture(scope="module", name="in_own_process")
def training_in_own_process():
    """Call `_train_and_keep` in a fresh process that has the libraries loaded; returns its exit code."""
    return lambda *arguments, **options: ended(in_own_process(_train_and_keep, *arguments, **options))[0]
