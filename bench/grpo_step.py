"""What a GRPO step of a vision-language model costs: TRL's, and this project's with what a group shares computed once.

    python bench/grpo_step.py

A random Qwen2-VL (vision tower 12.5 M, frozen; language model 22.9 M, LoRA r 16), images of 640 × 480, float32, one
thread; with `--model qwen3.5` a language model of that width, three layers in four of which keep a recurrent state.
Each variant in a process of its own: CPU seconds of whole steps (on a GPU wall seconds, the device waited for) and the
peak of resident (on a GPU: the device's) memory, then one more step in which floating-point operations are counted.
Ratios on a CPU are not ratios on a GPU: there generation is bound by memory and latency, and the share of each phase is
another. `bench/gpu.py` measures models of true size on a GPU.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import defaultdict
from contextlib import contextmanager

from gpu_kit.clock import GPU, UNIT, now, peak_gib

VARIANTS = {
    # name: (switches of `reuse` that are on, or None for TRL's own trainer; gradient checkpointing)
    "TRL, its default": (None, True),
    "TRL, no checkpointing": (None, False),
    "vision features once": (["vision_features"], False),
    "and preprocessing once": (["vision_features", "image_preprocessing"], False),
    "and the prompt once": (["vision_features", "image_preprocessing", "shared_prompt"], False),
}
PHASES = {
    "generation": "generation",
    "no_grad": "log-probs, no gradient",
    "policy": "log-probs and loss",
    "backward": "backward",
}


def measure(variant: str, options: argparse.Namespace) -> dict:
    """Train a few steps in this process; {"seconds", "tflop"}: a step's, by phase; {"rss_gb", "loss", "grad_norm"}."""
    import torch
    from datasets import Dataset, Image
    from peft import LoraConfig
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from vrft_core.params import Reuse
    from vrft_core.training.grpo import ReusingGRPOTrainer

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    switches, checkpointing = VARIANTS[variant]
    processor, question = small_processor()
    images = noise(options.steps + 1, options.width, options.height)
    cost, counter = Cost(), FlopCounterMode(display=False)

    class Measured:
        def _generate_single_turn(self, *args, **kwargs):
            with cost.phase("generation"):
                return super()._generate_single_turn(*args, **kwargs)

        def _get_per_token_logps_and_entropies(self, *args, **kwargs):
            with cost.phase("policy" if torch.is_grad_enabled() else "no_grad"):
                return super()._get_per_token_logps_and_entropies(*args, **kwargs)

        def train(self, *args, **kwargs):
            backward = self.accelerator.backward

            def measured(*args, **kwargs):
                with cost.phase("backward"):
                    backward(*args, **kwargs)

            self.accelerator.backward = measured
            return super().train(*args, **kwargs)

    class Steps(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == options.steps:
                cost.peak = (peak_gib() or 0) * 2**30 / 1e9 or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
                cost.counter = counter
                counter.__enter__()
            self.began = now()

        def on_step_end(self, args, state, control, **kwargs):
            if cost.counter is None:
                cost.seconds["step"] += now() - self.began
            else:
                counter.__exit__(None, None, None)
                cost.flops["step"] = counter.get_total_flops()

    base = GRPOTrainer if switches is None else ReusingGRPOTrainer
    reuse = {} if switches is None else {"reuse": Reuse(**{name: name in switches for name in Reuse.model_fields})}
    model = small_model(processor.tokenizer, options.model)
    model.model.visual.requires_grad_(False)
    rows = {"image": images, "prompt": [[{"role": "user", "content": question}]] * len(images)}
    with tempfile.TemporaryDirectory() as directory:
        arguments = GRPOConfig(
            output_dir=directory,
            per_device_train_batch_size=options.group,
            num_generations=options.group,
            max_completion_length=options.tokens,
            generation_kwargs={"min_new_tokens": options.tokens},
            beta=0.04,
            activation_checkpointing=checkpointing,
            max_steps=options.steps + 1,
            learning_rate=1e-5,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=not GPU,
            bf16=False,
            seed=1,
            disable_tqdm=True,
            log_level="error",
        )
        trainer = type("Trainer", (Measured, base), {})(
            model=model,
            reward_funcs=lambda completions, **_: [float(len(set(turns[0]["content"]))) for turns in completions],
            args=arguments,
            train_dataset=Dataset.from_dict(rows).cast_column("image", Image()),
            processing_class=processor,
            peft_config=LoraConfig(
                r=16,
                lora_alpha=32,
                target_modules=r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)",
            ),
            callbacks=[Steps()],
            **reuse,
        )
        trainer.train()
    logs = [row for row in trainer.state.log_history if "grad_norm" in row]
    return {
        "seconds": {name: value / options.steps for name, value in cost.seconds.items()},
        "tflop": {name: value / 1e12 for name, value in cost.flops.items()},
        "rss_gb": cost.peak,
        "loss": [row["loss"] for row in logs],
        "kl": [row["kl"] for row in logs],
        "grad_norm": [row["grad_norm"] for row in logs],
    }


class Cost:
    """Seconds by phase, or, once there is a `counter`, floating-point operations by phase."""

    def __init__(self) -> None:
        self.seconds, self.flops = defaultdict(float), defaultdict(float)
        self.counter = None
        self.peak = 0.0  # GB, of the steps that are timed: counting takes memory of its own

    @contextmanager
    def phase(self, name: str):
        account = self.seconds if self.counter is None else self.flops
        began = self._now()
        yield
        account[name] += self._now() - began

    def _now(self) -> float:
        return now() if self.counter is None else self.counter.get_total_flops()


def small_processor():
    """A byte-level BPE learned from the detection question, with Qwen2-VL's image processor; and the question."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from vrft_core.policy.processor import build_processor
    from vrft_core.policy.tokenizer import END_OF_TEXT, SPECIAL, TURN_END
    from vrft_core.tasks.detection.prompts.questions import question

    text = question("dog", thinking=True, family="qwen2-vl")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1024, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text] * 20 + ["system user assistant"] * 5, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        padding_side="left",
        additional_special_tokens=list(SPECIAL),
    )
    return build_processor(fast, 14, 3136, 401408), text


def small_model(tokenizer, family: str):
    import torch
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen3_5Config,
        Qwen3_5ForConditionalGeneration,
    )

    from vrft_core.policy.tokenizer import IMAGE, VIDEO, VISION_END, VISION_START

    number = tokenizer.convert_tokens_to_ids
    size, heads = 448, 7
    text = {
        "vocab_size": 8192,
        "hidden_size": size,
        "intermediate_size": 4 * size,
        "num_hidden_layers": 8,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"depth": 8, "num_heads": 8, "patch_size": 14}
    if family == "qwen3.5":
        kind, config = Qwen3_5ForConditionalGeneration, Qwen3_5Config
        text |= {"head_dim": 64, "linear_key_head_dim": 56, "linear_value_head_dim": 56}
        text |= {"linear_num_key_heads": 4, "linear_num_value_heads": 8}
        text["rope_parameters"] |= {"mrope_interleaved": True, "partial_rotary_factor": 1.0}
        vision |= {
            "hidden_size": 320,
            "intermediate_size": 1280,
            "out_hidden_size": size,
            "num_position_embeddings": 2304,
        }
    else:
        kind, config = Qwen2VLForConditionalGeneration, Qwen2VLConfig
        vision |= {"embed_dim": 320, "hidden_size": size, "mlp_ratio": 4}
    settings = config(
        text_config=text,
        vision_config=vision,
        image_token_id=number(IMAGE),
        video_token_id=number(VIDEO),
        vision_start_token_id=number(VISION_START),
        vision_end_token_id=number(VISION_END),
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    return kind(settings)


def noise(count: int, width: int, height: int) -> list:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)) for _ in range(count)]


def table(results: dict[str, dict], options: argparse.Namespace) -> str:
    """Markdown; ratios are a row's cost in each column against TRL's rows, more than 1 is better."""
    default, plain = results.get("TRL, its default"), results.get("TRL, no checkpointing")
    lines = [
        f"{options.model}, G = {options.group}, C = {options.tokens}, image {options.width} × {options.height};"
        f" mean of {options.steps} timed steps, FLOPs of one further step",
        "",
        f"| | {UNIT}-s a step | against TRL's default | against TRL without checkpointing | generation"
        " | log-probs, no gradient | policy, forward and backward | TFLOP a step | no-gradient FLOPs | gradient FLOPs"
        " | peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        seconds, flops = row["seconds"], row["tflop"]

        def faster(other: dict | None, seconds=seconds) -> str:
            return f"{other['seconds']['step'] / seconds['step']:.2f}×" if other else ""

        def fewer(*phases: str, flops=flops) -> str:
            mine = sum(flops[phase] for phase in phases)
            return f"{mine:.3f} T" + (f" ({sum(plain['tflop'][p] for p in phases) / mine:.1f}×)" if plain else "")

        share = f" ({row['rss_gb'] / plain['rss_gb']:.0%})" if plain else ""
        cells = [
            name,
            f"{seconds['step']:.2f}",
            faster(default),
            faster(plain),
            f"{seconds['generation']:.2f}",
            f"{seconds['no_grad']:.2f}",
            f"{seconds['policy'] + seconds['backward']:.2f}",
            f"{flops['step']:.3f}",
            fewer("no_grad"),
            fewer("policy", "backward"),
            f"{row['rss_gb']:.2f} GB{share}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "× in FLOPs: against TRL without checkpointing. CPU ratios are not GPU ratios."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=("qwen2-vl", "qwen3.5"), default="qwen2-vl", help="whose architecture")
    parser.add_argument("--steps", type=int, default=1, help="timed steps of each variant")
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="of each completion")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)  # measured in this very process
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(options.variant, options)))
        return
    results = {}
    for variant in options.only:
        command = [sys.executable, __file__, *sys.argv[1:], "--variant", variant]
        output = subprocess.run(command, env=os.environ, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[variant] = json.loads(output.splitlines()[-1])
        print(f"{variant}: {json.dumps(results[variant])}", file=sys.stderr, flush=True)
    print(table(results, options))


if __name__ == "__main__":
    main()
