"""Stage `prompts`: few-shot sample → training examples; validation images → examples that choose checkpoints."""

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.examples import write_examples
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.tasks import get_task


def prompts(layout: Layout, params: Params, cell: Cell) -> dict:
    """Writes `train/` (the sampled image-category pairs) and `val/` (what is asked about validation images)."""
    recipe, raw, task = params.recipe(cell), layout.raw(cell), get_task(params.task(cell))
    settings = params.task_settings(cell)
    annotations = Annotations.load(raw / "annotations.json")
    categories = annotations.chosen(params.benchmark(cell).categories)
    validation = annotations.split("val").first(recipe.evaluation.validation_images)
    pairs = {
        "train": task.prompts.training(io.read_json(layout.few_shot(cell) / "selection.json")),
        "val": task.prompts.validation(validation, categories, settings),
    }
    form, counts = Form.of(recipe, settings, params.benchmark(cell)), {}
    with io.new_directory(layout.prompts(cell)) as directory:
        for split, asked in pairs.items():
            examples = list(task.prompts.examples(asked, annotations, raw / "images", form))
            counts[split] = len(examples)
            write_examples(directory / split, examples)
    return counts
