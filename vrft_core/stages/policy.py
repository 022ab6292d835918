"""Stage `policy`: the recipe's starting weights, pre-trained here or fetched from the hub at a pinned revision."""

import torch
import transformers

from vrft_core import io, provenance, tracking
from vrft_core import policy as policies
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params, Recipe
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.pretraining import Log, pretrain
from vrft_core.policy.processor import build_processor, load_processor
from vrft_core.policy.supervision import WebAnswers, detection, draw_pool
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.runs import open_run


def policy(layout: Layout, params: Params, cell: Cell) -> dict:
    """Writes weights (safetensors), configuration, tokenizer and processor."""
    recipe = params.recipe(cell)
    with tracking.run(layout, params, cell, "policy") as tracked:
        if recipe.policy.hub:
            numbers = _fetch(layout, recipe, cell)
        else:
            numbers = _pretrain(layout, recipe, cell, lambda step, values: tracked.metrics(values, step))
        directory = layout.policy(cell)
        tracked.model(f"{cell.key}-policy", directory, provenance.directory_digest(directory))
    return numbers


def _pretrain(layout: Layout, recipe: Recipe, cell: Cell, log: Log) -> dict:
    torch.set_num_threads(recipe.threads)
    settings, scenes = recipe.policy.pretraining, recipe.scenes
    fingerprint = {"policy": recipe.policy, "prompts": recipe.prompts, "scenes": scenes}
    fingerprint = {name: model.model_dump() for name, model in fingerprint.items()} | {"torch": torch.__version__}
    run = open_run(layout.runs(cell, "policy"), fingerprint)
    categories = [name for group in ("f", "c", "r") for name in scenes.categories[group]]
    tokenizer = build_tokenizer(categories, recipe.policy.coordinate_step, recipe.policy.family)
    processor = build_processor(tokenizer, PATCH_SIZE, recipe.policy.min_pixels, recipe.policy.max_pixels)
    model = build_model(tokenizer, settings.seed)
    pool = draw_pool(scenes, settings)
    lessons = [detection(pool, WebAnswers(scenes, recipe.policy, recipe.prompts.thinking))]
    checkpoint = run / "vision.safetensors"
    loss = pretrain(model, processor, recipe.policy, pool, categories, lessons, checkpoint, log)
    with io.new_directory(layout.policy(cell)) as directory:
        policies.save(directory, model, processor)
    checkpoint.unlink()
    return {"parameters": sum(p.numel() for p in model.parameters()), **loss}


def _fetch(layout: Layout, recipe: Recipe, cell: Cell) -> dict:
    """Download the pinned revision, safetensors only. Not yet run: no hub could be reached where this was written."""
    from huggingface_hub import snapshot_download

    hub = recipe.policy.hub
    with io.new_directory(layout.policy(cell)) as directory:
        patterns = ["*.json", "*.txt", "*.jinja", "*.safetensors"]
        snapshot_download(hub.repo, revision=hub.revision, allow_patterns=patterns, local_dir=directory)
        load_processor(directory, recipe.policy.min_pixels, recipe.policy.max_pixels).save_pretrained(directory)
    return {"transformers": transformers.__version__, "revision": hub.revision}
