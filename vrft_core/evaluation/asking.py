"""From a model on disk to its answers, which are kept until they have been used.

What is asked belongs to `queries` and to the caller; answering in batches to `predict`.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from vrft_core import policy, provenance
from vrft_core.evaluation.predict import Query, predict
from vrft_core.locks import exclusive
from vrft_core.params import Recipe
from vrft_core.runs import open_run


@contextmanager
def answered(
    run: Path, queries: Sequence[Query], recipe: Recipe, model: Path, adapter: Path | None, images: object, what: str
) -> Iterator[list[dict]]:
    """The rows of all queries. They stay in the folder `run` until the block has ended well.

    Who is interrupted goes on from there, as long as queries, `images` (a digest of what they show), weights and
    settings are the same. `model` and `adapter` are as in `policy.load`.
    """
    made_from = {
        "queries": provenance.fingerprint([[q.image_id, q.category_id, q.question] for q in queries]),
        "images": images,
        "weights": [provenance.directory_digest(place) for place in (model, adapter) if place],
        "settings": recipe.model_dump(mode="json", include={"evaluation", "policy"}),
        "versions": provenance.versions(),
    }
    with exclusive(run.with_name(f".{run.name}.lock"), what, remove=True):
        run = open_run(run, made_from)
        torch.set_num_threads(recipe.threads)
        settings = recipe.evaluation
        yield predict(
            *policy.load(model, adapter),
            queries,
            batch_size=settings.batch_size,
            max_new_tokens=settings.max_new_tokens,
            samples=settings.samples,
            what=what,
            kept=run / "answers.jsonl",
        )
        shutil.rmtree(run)
