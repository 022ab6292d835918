"""A GRPO step on a random model of true size: this project's, TRL's default, and TRL without checkpointing."""

import gc
import tempfile
import time
import warnings
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from datasets import Image as ImageFeature
from peft import LoraConfig
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from gpu_kit.clock import GPU, Phases, begin_peak, now, peak_gib
from gpu_kit.estimate import estimate
from gpu_kit.models import SHAPES, WEIGHTS, build, pictures
from gpu_kit.settings import TARGETS, Rows, Settings
from vrft_core.params import Reuse
from vrft_core.policy import recording
from vrft_core.tasks.detection.prompts.questions import question
from vrft_core.training.grpo import ReusingGRPOTrainer

# name → (this project's trainer, activation checkpointing, timed steps at most)
VARIANTS = {
    "ours": (True, False, 2),
    "TRL, its default": (False, True, 1),
    "TRL, no checkpointing": (False, False, 1),
    "ours, passes not recorded": (True, False, 1),
}


def run(name: str, settings: Settings, rows: Rows) -> None:
    """One row a variant: seconds a step by phase, peak memory, tokens a second; a failure is a row too."""
    warnings.filterwarnings("ignore")
    for variant in VARIANTS:
        recording.DEVICES = () if "not recorded" in variant else ("cuda",)
        try:
            rows.add(part="grpo", model=name, variant=variant, **measure(name, variant, settings))
        except Exception as error:
            rows.add(part="grpo", model=name, variant=variant, failed=f"{type(error).__name__}: {error}"[:300])
        gc.collect()
        begin_peak()


def measure(name: str, variant: str, settings: Settings) -> dict:
    ours, checkpointing, most = VARIANTS[variant]
    settings = replace(settings, steps=min(settings.steps, most))
    text = question("dog", thinking=True, family=SHAPES[name][-1])
    began = time.perf_counter()
    model, processor = build(name, text, "cuda" if GPU else "cpu", settings.toy)
    built, weights = time.perf_counter() - began, sum(parameter.numel() for parameter in model.parameters())
    if not settings.toy and weights != WEIGHTS.get(name, weights):
        raise ValueError(f"{weights:,} weights, and {WEIGHTS[name]:,} are published")
    clock, plan = (
        Phases(),
        estimate(name, model, settings, checkpointing, ours, torch.cuda.get_device_name() if GPU else ""),
    )
    images = pictures((settings.steps + 1) * settings.groups, settings.width, settings.height)
    prompt = [{"role": "user", "content": text}]
    data = Dataset.from_dict({"image": images, "prompt": [prompt] * len(images)}).cast_column("image", ImageFeature())
    begin_peak()
    with tempfile.TemporaryDirectory() as directory:
        trainer = _timed(ReusingGRPOTrainer if ours else GRPOTrainer, clock)(
            model=model,
            args=_arguments(directory, settings, checkpointing),
            processing_class=processor,
            reward_funcs=_variety,
            train_dataset=data,
            peft_config=LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=TARGETS),
            callbacks=[_Steps(clock)],
            **({"reuse": Reuse()} if ours else {}),
        )
        trainer.train()
    logs = [row for row in trainer.state.log_history if "grad_norm" in row]
    seconds = {phase: value / settings.steps for phase, value in clock.seconds.items()}
    written = settings.group * settings.groups * settings.tokens
    return {
        "weights": weights,
        "built_s": built,
        "seconds": seconds,
        "tokens_a_second": written / seconds["generation"],
        "peak_gib": peak_gib(),
        "plan": plan,
        **{key: [float(row[key]) for row in logs if key in row] for key in ("loss", "kl", "grad_norm", "reward")},
    }


def _arguments(directory: str, settings: Settings, checkpointing: bool) -> GRPOConfig:
    return GRPOConfig(
        output_dir=directory,
        per_device_train_batch_size=settings.group,
        gradient_accumulation_steps=settings.groups,
        num_generations=settings.group,
        max_completion_length=settings.tokens,
        generation_kwargs={"min_new_tokens": settings.tokens},
        beta=0.04,
        activation_checkpointing=checkpointing,
        max_steps=settings.steps + 1,
        learning_rate=1e-5,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=not GPU,
        bf16=True,
        seed=1,
        disable_tqdm=True,
        log_level="error",
    )


def _variety(completions: list, **_: Any) -> list[float]:
    """Different tokens: random answers differ in it."""
    return [float(len(set(turns[0]["content"]))) for turns in completions]


class _Steps(TrainerCallback):
    def __init__(self, clock: Phases) -> None:
        self.clock, self.began = clock, 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        self.clock.on = state.global_step > 0  # the first step warms up
        self.began = now()

    def on_step_end(self, args, state, control, **kwargs):
        if self.clock.on:
            self.clock.seconds["step"] += now() - self.began


def _timed(base: type, clock: Phases) -> type:
    """The trainer with its phases timed."""

    class Timed(base):
        def _generate_single_turn(self, *args, **kwargs):
            with clock.phase("generation"):
                return super()._generate_single_turn(*args, **kwargs)

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            with clock.phase("policy, forward" if torch.is_grad_enabled() else "log-probs, no gradient"):
                return super()._get_per_token_logps_and_entropies(*args, **kwargs)

        def train(self, *args, **kwargs):
            backward = self.accelerator.backward

            def timed(*args, **kwargs):
                with clock.phase("backward"):
                    backward(*args, **kwargs)

            self.accelerator.backward = timed
            return super().train(*args, **kwargs)

    return Timed
