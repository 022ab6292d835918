"""One training from start to kept weights, whatever the method: resume, run, choose, copy.

A trainer is made by `sft` or `rft`. Weights are only ever copied from a sealed checkpoint, so that a run that was
interrupted after its last step ends as any other.
"""

import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from safetensors import safe_open
from transformers import PreTrainedModel, Trainer, set_seed
from transformers.trainer_callback import PrinterCallback

from vrft_core import io
from vrft_core.evaluation.predict import predict
from vrft_core.evaluation.scoring import match_rows
from vrft_core.params import Adapter, Recipe, Rft, Sft
from vrft_core.policy.loading import ADAPTER_CONFIG, ADAPTER_WEIGHTS, load_model
from vrft_core.policy.processor import ImageProcessor, load_processor
from vrft_core.training.callbacks import Guard, Log, Logging, Validation, best_step, diverged
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.data import load_examples, validation_set
from vrft_core.training.interruption import Interruption
from vrft_core.training.record import Clock, Record

MakeTrainer = Callable[[PreTrainedModel, ImageProcessor, Any, Record], Trainer]


def train(
    make_trainer: MakeTrainer,
    settings: Sft | Rft,
    recipe: Recipe,
    *,
    policy: Path,
    prompts: Path,
    run: Path,
    seed: int,
    what: str,
    log: Log,
) -> Record:
    """Train from the last complete checkpoint in `run`, or from the start, to `settings.steps`.

    `make_trainer(model, processor, examples, record)`. Checkpoints stay in `run`; see `keep`. Raises InputError when
    an input is missing, or when a reward, a loss or a gradient is no number.
    """
    done = complete_checkpoints(run)
    step, checkpoint, sealed = done[-1] if done else (0, None, {})
    record = Record.from_dict(sealed)
    if step >= settings.steps:
        return record
    torch.set_num_threads(recipe.threads)
    _quiet()
    examples = load_examples(prompts / "train")
    queries, truth = validation_set(load_examples(prompts / "val"), recipe.policy)
    set_seed(seed)  # before the adapter draws its first weights
    processor = load_processor(policy)
    trainer = make_trainer(load_model(policy), processor, examples, record)

    def validate(model: PreTrainedModel) -> float:
        limits = {"batch_size": recipe.evaluation.batch_size, "max_new_tokens": recipe.evaluation.max_new_tokens}
        rows = predict(model, processor, queries, what=f"{what}: validation", **limits)
        return match_rows(truth, rows, sorted(truth.categories), ["coco"])["coco"].average_precision()["AP"] or 0.0

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Logging(what, record, log))
    trainer.add_callback(Guard(lambda: trainer.batch_examples))
    trainer.add_callback(Interruption())
    trainer.add_callback(Validation(run, record, Clock(record), validate, log))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return record


def keep(run: Path, record: Record, choice: str, policy: Path, destination: Path) -> int:
    """Copy the chosen checkpoint's weights to `destination`; returns its step.

    `choice` is `last` or `validation` (the best by validation AP). An adapter keeps its two files, with the policy it
    belongs to named relative to the project; full weights keep configuration and processor too. No file holds a time
    or a path of this machine.
    """
    last = complete_checkpoints(run)[-1][0]
    step = last if choice == "last" else best_step(record)
    checkpoint = run / f"checkpoint-{step}"
    with io.new_directory(destination) as directory:
        if (checkpoint / ADAPTER_CONFIG).is_file():
            config = json.loads((checkpoint / ADAPTER_CONFIG).read_text(encoding="utf-8"))
            config["base_model_name_or_path"] = "/".join(policy.parts[-3:])
            io.write_json(directory / ADAPTER_CONFIG, config)
            shutil.copyfile(checkpoint / ADAPTER_WEIGHTS, directory / ADAPTER_WEIGHTS)
        else:
            for path in sorted(checkpoint.glob("*.safetensors*")):
                shutil.copyfile(path, directory / path.name)
            for name in ("config.json", "generation_config.json"):
                shutil.copyfile(checkpoint / name, directory / name)
            load_processor(policy).save_pretrained(directory)
    return step


def describe(record: Record, settings: Sft | Rft, chosen: int, **facts: Any) -> dict:
    """The training record as it is written to disk."""
    return {
        **facts,
        **record.to_dict(),
        "steps": settings.steps,
        "chosen_step": chosen,
        "checkpoint": settings.checkpoint,
        "settings": settings.model_dump(),
    }


def count_parameters(kept: Path, policy: Path) -> dict[str, int]:
    """{"trainable", "total"}, read from the files' headers; full weights are all trainable."""
    adapter = kept / ADAPTER_WEIGHTS
    if not adapter.is_file():
        total = sum(map(_file_parameters, kept.glob("*.safetensors")))
        return {"trainable": total, "total": total}
    trainable = _file_parameters(adapter)
    return {"trainable": trainable, "total": trainable + sum(map(_file_parameters, policy.glob("*.safetensors")))}


def _file_parameters(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def trl_arguments(settings: Sft | Rft, run: Path, seed: int) -> dict[str, Any]:
    """Arguments both TRL trainers share. TRL's own defaults assume a GPU; here the machine decides."""
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(run),
        "max_steps": settings.steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": settings.warmup_steps,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "seed": seed,
        "use_cpu": not gpu,
        "bf16": gpu,
        "dataloader_pin_memory": gpu,
        "activation_checkpointing": False,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "log_level": "error",
    }


def _quiet() -> None:
    """The libraries' own bars and deprecation notes would drown the lines that matter."""
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)


def lora(adapter: Adapter | None) -> Any:
    """PEFT's configuration, or None for full weights."""
    if adapter is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=adapter.r, lora_alpha=adapter.alpha, target_modules=adapter.target_modules, task_type="CAUSAL_LM"
    )


class Counting:
    """Mixed into a TRL trainer: counts what training consumes, and stops at a loss that is no number.

    `batch_examples` are the ids of the examples in the batch at hand.
    """

    record: Record
    batch_examples: list[str]

    def count(self, rows: int, tokens: torch.Tensor) -> None:
        cost = self.record.cost
        cost["completions"] += rows
        cost["images"] += rows
        cost["tokens"] += int(tokens)

    def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        value = loss[0] if isinstance(loss, tuple) else loss
        if not torch.isfinite(value):
            raise diverged("the loss", value.item(), self.state.global_step + 1, self.batch_examples)
        return loss
