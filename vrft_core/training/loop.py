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
from typing import Any, cast

import datasets
import torch
import transformers
from accelerate.utils import gather_object
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel, Trainer, set_seed
from transformers.trainer_callback import PrinterCallback

from vrft_core import flops, io
from vrft_core.errors import InputError
from vrft_core.evaluation.predict import predict
from vrft_core.examples import in_memory, load_examples
from vrft_core.families.form import Form
from vrft_core.params import Adapter, Recipe, Rft, Sft
from vrft_core.policy.device import autocast, in_16_bits, loaded_dtype, prepare
from vrft_core.policy.loading import ADAPTER_CONFIG, ADAPTER_WEIGHTS, load_model
from vrft_core.policy.processor import ImageProcessor, load_processor
from vrft_core.policy.quantized import quantization
from vrft_core.tasks.task import Task
from vrft_core.training.callbacks import (
    Exhausted,
    Guard,
    Log,
    Logging,
    Validation,
    best_step,
    diverged,
    exhausted,
    scored,
)  # fmt: skip
from vrft_core.training.checkpoints import complete_checkpoints, drop, full_disk_named
from vrft_core.training.guards import Watch
from vrft_core.training.interruption import Interruption
from vrft_core.training.live import Live
from vrft_core.training.processes import processes, split
from vrft_core.training.record import ROLLOUTS, Clock, Description, Record

MakeTrainer = Callable[[PreTrainedModel, ImageProcessor, Any, Record], "Counting"]


def train(
    make_trainer: MakeTrainer,
    settings: Sft | Rft,
    recipe: Recipe,
    task: Task,
    *,
    policy: Path,
    prompts: Path,
    run: Path,
    seed: int,
    what: str,
    log: Log,
) -> Record:
    """Train from the last complete checkpoint in `run`, or from the start, to `settings.steps` or to a guard's stop.

    `make_trainer(model, processor, examples, record)`. Checkpoints stay in `run`; see `keep`. Raises InputError when
    an input is missing, or when a reward, a loss or a gradient is non-finite.
    """
    with processes().main_process_first():
        step, checkpoint, record = _to_go_on_from(run, settings.checkpoint)
    patience = settings.patience if isinstance(settings, Sft) else None
    if step >= settings.steps or exhausted(record, patience) or record.stopped:
        return record
    if torch.cuda.device_count() > 1 and processes().num_processes == 1:
        raise InputError(
            what,
            f"one process sees {torch.cuda.device_count()} GPUs and would multiply the batch size by them",
            "start one process a GPU (VRFT_ACCELERATE, docs/training-at-scale.md), or hide the others with "
            "CUDA_VISIBLE_DEVICES=0",
        )
    prepare(recipe)
    _quiet()
    examples = load_examples(prompts / "train")
    held_out = in_memory(load_examples(prompts / "val", may_be_empty=settings.checkpoint == "last"))
    set_seed(seed)  # before the adapter draws its first weights
    processor = load_processor(policy)
    model = load_model(policy, loaded_dtype(recipe, trained=True), quantization(recipe))
    trainer = make_trainer(model, processor, examples, record)

    form, asked = Form.of(recipe), recipe.tasks[task.name]

    def validate(model: PreTrainedModel) -> float | None:
        if not held_out:
            return None
        limits = {name: getattr(recipe.evaluation, name) for name in ("batch_size", "max_new_tokens")}
        with split(held_out) as share, autocast(recipe):
            rows = predict(
                model,
                processor,
                share,
                task,
                form,
                what=f"{what}: validation",
                samples=asked.validation_samples,
                **limits,
            )
        return task.metrics.validate(held_out, gather_object(rows), asked, form)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Logging(what, record, log))
    if isinstance(settings, Rft):
        trainer.add_callback(Watch(what, recipe.guards(task.name), task.diagnostics.GUARDS, record))
        trainer.add_callback(Live(what, run / ROLLOUTS, task.diagnostics.LIVE))
    trainer.add_callback(Guard(lambda: trainer.batch_examples))
    interruption = Interruption(settings.num_iterations if isinstance(settings, Rft) else 1)
    trainer.add_callback(interruption)
    trainer.add_callback(Validation(run, record, Clock(record), validate, task.metrics.VALIDATION, log, patience))
    try:
        with full_disk_named(run):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Exhausted:
        interruption.end()
    return record


def _to_go_on_from(run: Path, choice: str) -> tuple[int, Path | None, Record]:
    """(step, checkpoint, record) of the last one that is whole and, where the best is to be chosen, still has the best.

    (0, None, an empty record) where there is none.
    """
    done = complete_checkpoints(run, digests=processes().is_main_process)
    steps = {step for step, *_ in done}
    for step, checkpoint, sealed in reversed(done):
        record = Record.from_dict(sealed)
        if (choice == "last" and not record.stopped) or not scored(record) or best_step(record) in steps:
            return step, checkpoint, record
        drop(checkpoint, f"checkpoint-{best_step(record)}, the best so far, is lost")
    return 0, None, Record()


def keep(run: Path, record: Record, choice: str, policy: Path, destination: Path) -> int:
    """Copy the chosen checkpoint's weights to `destination`; returns its step.

    `choice` is `last` or `validation` (the best validation score; taken too where a guard ended the training). An
    adapter keeps its two files, with the policy it belongs to named relative to the project; full weights keep
    configuration and processor too. No file holds a time or a path of this machine.
    """
    last = complete_checkpoints(run)[-1][0]
    step = last if not scored(record) or (choice == "last" and not record.stopped) else best_step(record)
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
            config = io.read_json(checkpoint / "config.json")
            io.write_json(directory / "config.json", config | {"use_cache": True})  # the trainer had it off
            shutil.copyfile(checkpoint / "generation_config.json", directory / "generation_config.json")
            load_processor(policy).save_pretrained(directory)
    return step


def describe(record: Record, settings: Sft | Rft, chosen: int, **facts: Any) -> Description:
    """The training record as it is written to disk."""
    described = {
        **facts,
        **record.to_dict(),
        "steps": record.validation[-1]["step"],
        "chosen_step": chosen,
        "checkpoint": settings.checkpoint,
        "settings": settings.model_dump(),
    }
    return cast(Description, described)


def count_parameters(kept: Path, policy: Path) -> dict[str, int]:
    """{"trainable", "total"}, read from the files' headers; full weights are all trainable."""
    adapter = kept / ADAPTER_WEIGHTS
    if not adapter.is_file():
        total = sum(map(_file_parameters, kept.glob("*.safetensors")))
        return {"trainable": total, "total": total}
    trainable = _file_parameters(adapter)
    return {"trainable": trainable, "total": trainable + sum(map(_file_parameters, policy.glob("*.safetensors")))}


def count_flops(record: Record, settings: Sft | Rft, policy: Path, adapter: bool) -> float:
    """Floating-point operations of the training, validation apart: an estimate from what it consumed (`flops`)."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(policy))
    shape, cost = flops.Shape.of(model), record.cost
    load = flops.Load(cost["completions"], cost["tokens"], cost["completion_tokens"], cost["patches"])
    if isinstance(settings, Sft):
        return flops.supervised(shape, load, adapter)
    parts = flops.reinforced(shape, load, adapter, settings.beta != 0, settings.num_iterations)
    written_in_vain = parts["generation"] * settings.num_iterations * cost["discarded_tokens"] / cost["tokens"]
    return sum(parts.values()) + written_in_vain + flops.guessed(shape, load, cost["guessed_in_vain"])


def _file_parameters(path: Path) -> int:
    with safe_open(path, "pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def batches(settings: Sft | Rft, available: int, unit: int = 1) -> dict[str, Any]:
    """A step's `batch_size` rows, at most `available`, over the processes at work and then over micro-batches.

    `unit` rows belong together and stay in one process. Raises InputError where they cannot be shared out evenly.
    """
    rows, count = min(settings.batch_size, available), processes().num_processes
    share = rows // count
    if rows % (count * unit):
        together = f" in groups of {unit}" if unit > 1 else ""
        raise InputError("params.yaml", f"a step's {rows} rows cannot be divided over {count} processes{together}",
                         "change batch_size, or the number of processes")  # fmt: skip
    micro = min(settings.micro_batch_size or share, share)
    if share % micro:
        raise InputError(
            "params.yaml", f"micro_batch_size {micro} does not divide a process's {share} rows", "give a divisor"
        )
    return {"per_device_train_batch_size": micro, "gradient_accumulation_steps": share // micro}


def trl_arguments(settings: Sft | Rft, recipe: Recipe, run: Path, seed: int) -> dict[str, Any]:
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
        "bf16": in_16_bits(recipe),
        "dataloader_pin_memory": gpu,
        "activation_checkpointing": settings.gradient_checkpointing,
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


class Counting(Trainer):
    """Mixed into a TRL trainer: counts what all processes consume, and stops at a non-finite loss.

    `batch_examples` are the ids of the examples in the current batch.
    """

    record: Record
    batch_examples: list[str]

    def count(self, rows: int, tokens: torch.Tensor, completion_tokens: torch.Tensor, grid: torch.Tensor) -> None:
        """`grid` [images, 3]: patches in time, height and width of each row's image."""
        cost = self.record.cost
        counted = [rows, rows, tokens, completion_tokens, grid.prod(dim=-1).sum()]
        here = torch.stack([torch.as_tensor(one, device=self.accelerator.device).long() for one in counted])
        counted = cast(torch.Tensor, self.accelerator.reduce(here, "sum")).tolist()
        for name, value in zip(
            ("completions", "images", "tokens", "completion_tokens", "patches"), counted, strict=True
        ):
            cost[name] += value

    def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        value = loss[0] if isinstance(loss, tuple) else loss
        if not torch.isfinite(value):
            raise diverged("the loss", value.item(), self.state.global_step + 1, self.batch_examples)
        return loss
