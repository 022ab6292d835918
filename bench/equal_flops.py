"""How many steps of a compared recipe take as many FLOPs of training as those of the recipe it is compared with.

    python bench/equal_flops.py --root .

For every study in the grid of a recipe that `comparisons` in params.yaml compares others with. Counted by
`vrft_core/flops.py` on the few-shot questions of its first seed, which must be made, each with its true answer; what a
model really writes is longer or shorter, and the stage `comparison` says how equal the trainings were. Only for
policies that are pre-trained here: others' tokenizers are not at hand.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from vrft_core import flops, io
from vrft_core.annotations import Annotations
from vrft_core.architectures import outline
from vrft_core.cell import Cell, Layout
from vrft_core.families.form import Form
from vrft_core.params import Params, Recipe
from vrft_core.policy import curriculum
from vrft_core.policy.model import PATCH_SIZE
from vrft_core.policy.processor import build_processor
from vrft_core.tasks import get_task, load_params

MERGE = 4  # patches that become one token


def per_step(layout: Layout, params: Params, cell: Cell, sample: Cell) -> dict[str, float]:
    """FLOPs of one step, by method; `sample`: the cell whose few-shot images are taken."""
    recipe, task = params.recipe(cell), get_task(params.task(cell))
    annotations = Annotations.load(layout.raw(cell) / "annotations.json")
    form = Form.of(recipe, params.task_settings(cell), params.benchmark(cell))
    pairs = task.prompts.training(io.read_json(layout.few_shot(sample) / "selection.json"))
    load = lengths(params, recipe, list(task.prompts.examples(pairs, annotations, layout.raw(cell) / "images", form)))
    shape, adapter = flops.Shape.of(outline(params, recipe)), recipe.adapter is not None
    rft = flops.reinforced(shape, load, adapter, recipe.rft.beta != 0, recipe.rft.num_iterations)
    return {
        "sft": flops.supervised(shape, load, adapter) / load.rows * recipe.sft.batch_size,
        "rft": sum(rft.values()) / load.rows * recipe.rft.batch_size,
    }


def lengths(params: Params, recipe: Recipe, examples: list) -> flops.Load:
    """What one pass over the examples holds, with their true answers."""
    tokenizer = curriculum.tokenizer(curriculum.subjects(params, recipe), recipe)
    processor = build_processor(tokenizer, PATCH_SIZE, recipe.policy.min_pixels, recipe.policy.max_pixels)
    load = flops.Load(len(examples), 0, 0, 0)
    for one in examples:
        content = [{"type": "image"}, {"type": "text", "text": one.question}]
        asked = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        size = {"height": one.height, "width": one.width, "images_kwargs": {}}
        patches = processor.image_processor.get_number_of_image_patches(**size)
        said = len(tokenizer(one.answer)["input_ids"]) + 1  # and the end of the turn
        tokens = len(tokenizer(asked)["input_ids"]) - 1 + patches // MERGE + said
        load = flops.Load(load.rows, load.tokens + tokens, load.completion_tokens + said, load.patches + patches)
    return load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    layout = Layout(parser.parse_args().root)
    params = load_params(layout.root / "params.yaml")
    print("| study | method | MFLOPs a step | steps that are equal | steps of the recipe |\n|---|---|---:|---:|---:|")
    for against in dict.fromkeys(params.comparisons.values()):
        compared = [against, *(recipe for recipe, other in params.comparisons.items() if other == against)]
        for study in dict.fromkeys(cell.at("study") for cell in params.cells() if cell.recipe == against):
            first = next(cell for cell in params.cells() if cell.at("study") == study)
            theirs = per_step(layout, params, first, first)
            for one in (replace(first, recipe=recipe) for recipe in compared):
                ours = per_step(layout, params, one, first)
                for method in ours:
                    wanted = getattr(params.recipe(first), method).steps * theirs[method] / ours[method]
                    steps = getattr(params.recipe(one), method).steps
                    print(f"| {one.at('study').key} | {method} | {ours[method] / 1e6:,.0f} | {wanted:.1f} | {steps} |")


if __name__ == "__main__":
    main()
