"""From a model on disk to its answers, which are kept on disk until the caller has used them.

What is asked belongs to the tasks and to the caller; answering in batches to `predict`.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vrft_core import policy, provenance
from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.locks import exclusive
from vrft_core.params import Recipe
from vrft_core.policy.device import autocast, device, in_16_bits, loaded_dtype, prepare
from vrft_core.run_folder import open_run
from vrft_core.tasks.task import Example, Prediction, Task


@contextmanager
def answered(
    run: Path,
    examples: Sequence[Example],
    task: Task,
    recipe: Recipe,
    model: Path,
    adapter: Path | None,
    images: object,
    what: str,
) -> Iterator[list[Prediction]]:
    """The rows of all examples (`predict`). They stay in the folder `run` until the block has ended well.

    An interrupted run resumes from there, as long as questions, `images` (a digest of what they show), weights and
    settings are the same. `model` and `adapter` are as in `policy.load`.
    """
    made_from = {
        "questions": provenance.fingerprint([[one.id, one.question] for one in examples]),
        "images": images,
        "weights": [provenance.directory_digest(place) for place in (model, adapter) if place],
        "settings": recipe.model_dump(mode="json", include={"evaluation": True, "policy": True, "tasks": {task.name}}),
        "versions": provenance.versions(),
        "machine": {"device": device().type, "bf16": in_16_bits(recipe)},
    }
    with exclusive(run.with_name(f".{run.name}.lock"), what, remove=True):
        run = open_run(run, made_from)
        prepare(recipe)
        settings = recipe.evaluation
        with autocast(recipe):
            rows = predict(
                *policy.load(model, adapter, loaded_dtype(recipe)),
                examples,
                task,
                Form.of(recipe),
                batch_size=settings.batch_size,
                max_new_tokens=settings.max_new_tokens,
                samples=recipe.tasks[task.name].samples,
                what=what,
                kept=run / "answers.jsonl",
            )
        yield rows
        shutil.rmtree(run)
