"""The golden training: a few steps of SFT and GRPO of one cell, which must give the numbers that were recorded.

It finds what an evaluation of finished weights cannot: a trainer, a reward or a package that has changed.
"""

import shutil
import tempfile
from pathlib import Path

from vrft_core import io, provenance
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.examples import in_memory, load_examples, write_examples
from vrft_core.params import Params, Recipe
from vrft_core.tasks import get_task

CURVE = "golden.json"
STEPS, QUESTIONS = 3, 4  # questions: of each validation, and of a GRPO step
NUMBERS = ("loss", "reward")
TOLERANCE = {"loss": 0.02, "reward": 0.15}  # elsewhere, or on a GPU, where one sampled word may fall differently
GPU = "GPU "


def train_again(layout: Layout, params: Params, cell: Cell) -> dict:
    """Train `STEPS` steps by each method from the cell's policy and prompts, in a folder that is then removed.

    → {"processor", "versions", "inputs": {name: digest}, "settings": fingerprint, "curves": {method: {number: [of each
    step]}}}. Raises InputError where the policy or the prompts are missing.
    """
    from vrft_core.training import rft, sft
    from vrft_core.training.loop import train

    recipe, task = _short(params.recipe(cell)), get_task(params.task(cell))
    policy, prompts = layout.policy(cell), layout.prompts(cell)
    inputs = {"policy": provenance.directory_digest(policy), "prompts": provenance.directory_digest(prompts)}
    assert cell.seed is not None, "a training belongs to a cell"
    (layout.root / "runs").mkdir(parents=True, exist_ok=True)
    curves = {}
    with tempfile.TemporaryDirectory(prefix="golden-", dir=layout.root / "runs") as folder:
        short = _few_to_validate(prompts, Path(folder))
        for method, make_trainer in (("sft", sft.make_trainer), ("rft", rft.make_trainer)):
            run = Path(folder) / method
            run.mkdir()
            record = train(
                make_trainer(recipe, task, run, cell.seed),
                getattr(recipe, method),
                recipe,
                task,
                policy=policy,
                prompts=short,
                run=run,
                seed=cell.seed,
                what=f"{cell.key} {method}, golden",
                log=lambda *_: None,
            )
            curves[method] = {name: [row[name] for row in record.log if name in row] for name in NUMBERS}
    return {
        "processor": _trained_on(),
        "versions": provenance.versions(),
        "inputs": inputs,
        "settings": provenance.fingerprint(recipe.model_dump(mode="json", exclude={"threads"})),
        "curves": {method: {name: row for name, row in found.items() if row} for method, found in curves.items()},
    }


def compare_curves(now: dict, recorded: dict) -> dict:
    """→ {"passed", "exact": whether every digit must agree, "said": one sentence}."""
    changed = [name for name, digest in recorded["inputs"].items() if now["inputs"].get(name) != digest]
    if changed or now["settings"] != recorded["settings"]:
        what = " and ".join([*changed, *(["settings"] if now["settings"] != recorded["settings"] else [])])
        said = f"{what} changed since the curve was recorded; record the baseline again"
        return {"passed": False, "exact": False, "said": said}
    exact = now["processor"] == recorded["processor"] and not now["processor"].startswith(GPU)
    for method, curves in recorded["curves"].items():
        for name, wanted in curves.items():
            found = now["curves"].get(method, {}).get(name, [])
            for step, (a, b) in enumerate(zip(found, wanted, strict=False), 1):
                if not abs(a - b) <= (0 if exact else TOLERANCE[name]):
                    said = f"{method} step {step}: {name} {a!r}, recorded {b!r}{_packages(now, recorded)}"
                    return {"passed": False, "exact": exact, "said": said}
            if len(found) != len(wanted):
                said = f"{method}: {name} of {len(found)} steps, recorded {len(wanted)}"
                return {"passed": False, "exact": exact, "said": said}
    how = "to the digit" if exact else "within the tolerance for GPUs and other types of processor"
    return {"passed": True, "exact": exact, "said": f"losses and rewards agree {how}"}


class NotRecorded(InputError):
    """There is nothing yet to compare with."""


def load_curve(layout: Layout, cell: Cell) -> dict:
    """Raises NotRecorded where there is none."""
    path = layout.baseline(cell) / CURVE
    if not path.is_file():
        raise NotRecorded(path, "no golden curve is recorded", f"record one with `vrft baseline {cell.key}`")
    return io.read_json(path)


def _short(recipe: Recipe) -> Recipe:
    common = {"steps": STEPS, "save_steps": STEPS, "warmup_steps": 1, "checkpoint": "last"}
    rft = recipe.rft.model_copy(
        update={**common, "batch_size": QUESTIONS * recipe.rft.num_generations, "micro_batch_size": None}
    )
    sft = recipe.sft.model_copy(update={**common, "micro_batch_size": None})
    return recipe.model_copy(update={"sft": sft, "rft": rft})


def _few_to_validate(prompts: Path, folder: Path) -> Path:
    """The same training examples, and the first few of validation."""
    place = folder / "prompts"
    shutil.copytree(prompts / "train", place / "train")
    write_examples(place / "val", in_memory(load_examples(prompts / "val", may_be_empty=True).take(QUESTIONS)))
    return place


def _trained_on() -> str:
    """The type of processor; of a GPU its name after `GPU `, since its sums come in any order."""
    import torch

    return f"{GPU}{torch.cuda.get_device_name()}" if torch.cuda.is_available() else provenance.processor()


def _packages(now: dict, recorded: dict) -> str:
    names = sorted({*now["versions"], *recorded["versions"]})
    changed = [
        f"{name} {recorded['versions'].get(name, 'none')} → {now['versions'].get(name, 'none')}"
        for name in names
        if now["versions"].get(name) != recorded["versions"].get(name)
    ]
    return f" (packages changed: {', '.join(changed)})" if changed else ""
