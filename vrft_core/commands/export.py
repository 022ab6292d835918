"""`vrft export`: a trained model as a folder that plain `transformers` (and `peft`) can load, with a card that says
where it came from.

Any program can load merged weights; the adapter, if there is one, is stored beside them. Training and evaluation
belong elsewhere.
"""

import json
import shutil
from pathlib import Path
from typing import Any, cast

from vrft_core import io, provenance
from vrft_core import policy as policies
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.evaluation.scores import Ends
from vrft_core.families import registry
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.policy.loading import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter, stored_dtype
from vrft_core.tasks import get_task

USE = """\
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

folder, picture = {folder!r}, Image.open({picture!r}).convert("RGB")
question = {question!r}

model = AutoModelForImageTextToText.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")  # as in training, torchvision or not
seen = pixels(images=[picture], return_tensors="pt")
content = [{{"type": "image"}}, {{"type": "text", "text": question}}]
turns = [{{"role": "user", "content": content}}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
tokens = int(seen["image_grid_thw"].prod()) // pixels.merge_size**2
read = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * tokens), return_tensors="pt")
kinds = (read["input_ids"] == model.config.image_token_id).int()
written = model.generate(**read, **seen, mm_token_type_ids=kinds, max_new_tokens={limit}, do_sample=False)
print(tokenizer.decode(written[0, read["input_ids"].shape[1] :], skip_special_tokens=True))
"""
LICENCE = "The weights this model was trained from keep their licence; so do the images it was shown."


def export(layout: Layout, params: Params, cell: Cell, method: str, directory: Path) -> None:
    """Write merged weights (`directory`), the adapter (`directory/adapter`) and a model card, all or nothing.

    `method` is sft or rft. Raises InputError where the model is not trained yet, or where `directory` exists.
    """
    cell = cell.at("cell")
    trained, base = layout.model(cell, method), layout.policy(cell)
    if directory.exists():
        raise InputError(directory, "exists already", "name a new folder")
    if not trained.is_dir():
        raise InputError(trained, "no trained model here", f"run `vrft run {cell.key}` first, or `dvc pull`")
    model, processor = policies.load(base, trained)
    dtype = stored_dtype(base)
    with io.new_directory(directory) as target:
        if dtype:
            cast(Any, model).to(dtype)  # in place; the annotation of a model's own `to` takes no argument
        policies.save(target, model, processor)
        if is_adapter(trained):
            (target / "adapter").mkdir()
            shutil.copyfile(trained / ADAPTER_WEIGHTS, target / "adapter" / ADAPTER_WEIGHTS)
            config = io.read_json(trained / ADAPTER_CONFIG)
            hub = params.recipe(cell).policy.hub
            origin = {"base_model_name_or_path": hub.repo, "revision": hub.revision} if hub else {}
            io.write_json(target / "adapter" / ADAPTER_CONFIG, config | origin)
        # A class of this project wrote the folder; to others it is what it is built on.
        _name_processor(target, registry.get(params.recipe(cell).policy.family).processor_class)
        io.write_text(target / "README.md", card(layout, params, cell, method))


def card(layout: Layout, params: Params, cell: Cell, method: str) -> str:
    """The model card (Markdown with the hub's front matter), from the run's own records."""
    recipe, record = params.recipe(cell), io.read_json(layout.training(cell, method))
    task = get_task(params.task(cell))
    selection = io.read_json(layout.few_shot(cell) / "selection.json")
    form = Form.of(recipe, params.task_settings(cell), params.benchmark(cell))
    asked, _ = task.prompts.longest(form, selection["categories"][0]["name"])
    came = provenance.provenance(layout.root, params, cell)
    hub = recipe.policy.hub
    base = f"{hub.repo} at {hub.revision}" if hub else "a small policy pre-trained on drawn scenes"
    matter = ["---", "library_name: transformers", "pipeline_tag: image-text-to-text"]
    matter += [f"base_model: {hub.repo}"] if hub else []
    names = {"sft": "supervised fine-tuning", "rft": "reinforcement fine-tuning (GRPO, verifiable rewards)"}
    lines = [
        *matter,
        f"tags: [vrft, {method}, {task.name}]",
        "---",
        "",
        f"# {cell.key}, {method.upper()}",
        "",
        f"{base[0].upper() + base[1:]}, after {names[method]} on `{cell.benchmark}` with {cell.shots} labelled "
        f"image{'s' if cell.shots > 1 else ''} a category (seed {cell.seed}). "
        f"Step {record['chosen_step']} of {record['steps']}, chosen by: {record['checkpoint']}.",
        "",
        "It is asked for one category at a time, in these very words. With nothing but `transformers`:",
        "",
        "```python",
        USE.format(folder=".", picture="image.jpg", question=asked, limit=recipe.evaluation.max_new_tokens).rstrip(),
        "```",
        "",
        *_results(layout, params, cell, method),
        "## How it was trained",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {name} | {_value(value)} |" for name, value in record["settings"].items() if value not in (None, {}, [])),
        *([f"| LoRA | rank {recipe.adapter.r}, alpha {recipe.adapter.alpha} |"] if recipe.adapter else []),
        "",
        f"Weights trained: {record['parameters']['trainable']:,} of {record['parameters']['total']:,}. "
        f"Answers learned from: {record['cost']['completions']:,}; tokens: {record['cost']['tokens']:,}.",
        "",
        "## Where it came from",
        "",
        f"- command: `{came['command']}`",
        *_commits(record.get("git"), came["git"]),
        f"- weights, DVC digest: {provenance.directory_digest(layout.model(cell, method))}",
        f"- starting weights, DVC digest: {provenance.directory_digest(layout.policy(cell))}",
        f"- training examples, DVC digest: {provenance.directory_digest(layout.prompts(cell))}",
        f"- packages: {', '.join(f'{name} {number}' for name, number in came['packages'].items())}",
        "",
        LICENCE,
    ]
    return "\n".join(lines) + "\n"


def _results(layout: Layout, params: Params, cell: Cell, method: str) -> list[str]:
    """A table of the model beside the weights it began with; nothing where it was not evaluated."""
    shown = [name for name, _ in get_task(params.task(cell)).metrics.columns(params.task_settings(cell))]
    rows = []
    for name in ("base", method):
        place = layout.evaluation(cell, name) / "metrics.json"
        if not place.is_file():
            return []
        found = io.read_json(place)["metrics"]
        if absent := [key for key in shown if key not in found]:
            raise InputError(place, f"has no {absent[0]!r}: recorded under another name", f"vrft run {cell.key}")
        rows.append([name, *(_interval(found[key]) for key in shown)])
    table = [f"| model | {' | '.join(shown)} |", f"|---{'|---' * len(shown)}|"]
    table += [f"| {' | '.join(row)} |" for row in rows]
    return ["## Results", "", *table, "", "Points, with 95 % intervals over evaluation images.", ""]


def _interval(entry: Ends) -> str:
    value, low, high = entry["value"], entry["low"], entry["high"]
    if value is None:
        return "–"
    return f"{100 * value:.1f}" + ("" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]")


def _commits(trained: dict | None, exported: dict | None) -> list[str]:
    """Where the code stood; the export's only if it is another. A record of an earlier version names none."""
    lines = [f"- trained at commit: {_commit(trained)}"]
    return lines if exported == trained else [*lines, f"- exported at commit: {_commit(exported)}"]


def _commit(git: dict | None) -> str:
    return "not recorded" if git is None else git["commit"] + (" (with changes)" if git["dirty"] else "")


def _value(value: object) -> str:
    return f"`{json.dumps(value)}`" if isinstance(value, dict | list) else str(value)


def _name_processor(directory: Path, name: str) -> None:
    for file in ("processor_config.json", "tokenizer_config.json"):
        content = io.read_json(directory / file)
        if "processor_class" in content:
            io.write_json(directory / file, content | {"processor_class": name})
