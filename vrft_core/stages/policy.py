"""Stage `policy`: the recipe's starting weights, pre-trained here or fetched from the hub at a pinned revision."""

from typing import Any

import transformers

from vrft_core import io, provenance, tracking
from vrft_core import policy as policies
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params, Policy, Pretraining, Recipe
from vrft_core.policy import curriculum
from vrft_core.policy.device import device, prepare
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.pretraining import Log, pretrain
from vrft_core.policy.processor import build_processor, load_processor
from vrft_core.run_folder import open_run


def policy(layout: Layout, params: Params, cell: Cell) -> dict:
    """Writes weights (safetensors), configuration, tokenizer and processor."""
    recipe = params.recipe(cell)
    with tracking.run(layout, params, cell, "policy") as tracked:
        if recipe.policy.pretraining:
            numbers = _pretrain(
                layout,
                params,
                recipe,
                recipe.policy.pretraining,
                cell,
                lambda step, values: tracked.metrics(values, step),
            )
        else:
            numbers = _fetch(layout, recipe.policy, cell)
        directory = layout.policy(cell)
        tracked.model(f"{cell.key}-policy", directory, provenance.directory_digest(directory))
    return numbers


def _pretrain(layout: Layout, params: Params, recipe: Recipe, settings: Pretraining, cell: Cell, log: Log) -> dict:
    prepare(recipe)
    taught = curriculum.subjects(params, recipe)
    fingerprint = {
        "policy": recipe.policy.model_dump(),
        "prompts": recipe.prompts.model_dump(),
        "scenes": [one.scenes.model_dump() for one in taught],
        "subjects": [one.form.subject for one in taught],
        "versions": provenance.versions(),
        "machine": {"device": device().type},
    }
    run = open_run(layout.runs(cell, "policy"), fingerprint)
    tokenizer = curriculum.tokenizer(taught, recipe)
    processor = build_processor(tokenizer, PATCH_SIZE, recipe.policy.min_pixels, recipe.policy.max_pixels)
    model: Any = build_model(tokenizer, settings.seed)
    model.to(device())  # pre-training computes in 32 bits, whatever the recipe's precision
    pool, opening, lessons = curriculum.lessons(taught, recipe)
    loss = pretrain(model, processor, recipe.policy, pool, curriculum.names(taught), lessons, run, log, opening)
    with io.new_directory(layout.policy(cell)) as directory:
        policies.save(directory, model, processor)
    for pattern in ("*.safetensors", "*.partial"):
        for unfinished in run.glob(pattern):
            unfinished.unlink()
    return {"parameters": sum(p.numel() for p in model.parameters()), **loss}


def _fetch(layout: Layout, policy: Policy, cell: Cell) -> dict:
    """Download the pinned revision, safetensors only. Not yet run: no hub could be reached where this was written."""
    from huggingface_hub import snapshot_download

    hub = policy.hub
    assert hub is not None
    with io.new_directory(layout.policy(cell)) as directory:
        patterns = ["*.json", "*.txt", "*.jinja", "*.safetensors"]
        snapshot_download(hub.repo, revision=hub.revision, allow_patterns=patterns, local_dir=directory)
        load_processor(directory, policy.min_pixels, policy.max_pixels).save_pretrained(directory)
    return {"transformers": transformers.__version__, "revision": hub.revision}
