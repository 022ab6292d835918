"""Reinforcement fine-tuning on TRL: GRPO with verifiable rewards (arXiv 2503.01785, section 3).

A batch holds several groups; a group is one question answered `num_generations` times. What an answer is worth is
decided by `rewards`; here it is only asked, checked and written down.
"""

import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PreTrainedModel
from trl.trainer.grpo_config import GRPOConfig

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.params import Recipe, Rft
from vrft_core.policy.processor import ImageProcessor
from vrft_core.tasks.task import Reward, Task
from vrft_core.training.callbacks import diverged
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.data import grpo_columns
from vrft_core.training.guards import faults, identical
from vrft_core.training.loop import Counting, batches, lora, trl_arguments
from vrft_core.training.processes import processes
from vrft_core.training.record import ROLLOUTS, Record
from vrft_core.training.resampling import ResamplingGRPOTrainer
from vrft_core.training.shared_prompt import image_grid

ROLLOUT = ("id", "label", "truth", "width", "height")  # what is needed of an example once it is answered


class GrpoTrainer(Counting, ResamplingGRPOTrainer):
    """TRL's without repeated work; it also records every completion with its rewards and advantage."""

    def __init__(self, *args: Any, reader: "Reader", record: Record, rollouts: Path, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reader = reader
        self.record, self.rollouts, self.batch_examples = record, rollouts, []

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self.batch_examples = [row["id"] for row in inputs]
        output = super()._generate_and_score_completions(inputs)
        self.batch_examples = [row["id"] for row in self._rows]
        self.record.cost["discarded_tokens"] += self.discarded_tokens
        self.record.cost["guessed_in_vain"] += self.guessed_in_vain
        self._log_constant_rewards()
        # TRL's logs span processes too
        rows = gather_object([{name: row[name] for name in ROLLOUT} for row in self._rows])
        self._log_health(rows)
        if self.accelerator.is_main_process:
            self._write_rollouts(rows)
        return output

    def _log_health(self, rows: list[dict]) -> None:
        mode = "train" if self.model.training else "eval"
        texts = [turns[0]["content"] for turns in self._logs["completion"]]
        for name, value in self.reader.health(texts, rows, self.num_generations).items():
            self._metrics[mode][name].append(value)

    def _log_constant_rewards(self) -> None:
        """For each reward, the share of groups in which all completions get the same: these teach nothing."""
        mode = "train" if self.model.training else "eval"
        for name, values in self._logs["rewards"].items():
            groups = torch.tensor(list(values)).view(-1, self.num_generations)
            alike = (groups == groups[:, :1]).all(dim=1)
            self._metrics[mode][f"rewards/{name}/frac_zero_std"].append(alike.float().mean().item())

    def _get_train_sampler(self, dataset: Dataset | None = None) -> Sampler:
        sampler = super()._get_train_sampler(dataset)
        return EpochSampler(sampler)

    def _write_rollouts(self, rows: list[dict]) -> None:
        logs = self._logs  # TRL keeps exactly the last generation batch
        names, columns = list(logs["rewards"]), zip(*logs["rewards"].values(), strict=True)
        parts = [dict(zip(names, values, strict=True)) for values in columns]
        with open(self.rollouts, "a", encoding="utf-8") as file:
            for row, turns, reward, advantage in zip(rows, logs["completion"], parts, logs["advantages"], strict=True):
                line = {
                    "step": self.state.global_step + 1,
                    "id": row["id"],
                    "label": row["label"],
                    "completion": turns[0]["content"],
                    "rewards": {name: None if math.isnan(value) else value for name, value in reward.items()},
                    "advantage": advantage,
                }
                file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")

    def _prepare_inputs(self, inputs: list[dict]) -> dict:
        prepared = super()._prepare_inputs(inputs)
        written = prepared["completion_mask"].sum()
        prompts = prepared.get("prompts")  # None: TRL's way
        grid = prepared["image_grid_thw"] if prompts is None else image_grid(prompts, written.device)
        self.count(len(prepared["completion_mask"]), prepared["prompt_mask"].sum() + written, written, grid)
        return prepared


class EpochSampler(Sampler):
    """TRL's sampler with an order that follows from seed and epoch alone.

    TRL's draws each epoch's order from one generator, which a resumed run does not advance.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler, self.epoch = sampler, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator.manual_seed(self.sampler.seed * 1_000_003 + self.epoch)
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


def make_trainer(recipe: Recipe, task: Task, run: Path, seed: int):
    """A function as `loop.train` wants it. Rollouts go to `run`, those after the last checkpoint are written again."""

    def make(model: PreTrainedModel, processor: ImageProcessor, examples: Dataset, record: Record) -> GrpoTrainer:
        settings, weights = recipe.rft, recipe.tasks[task.name].rewards
        reader = Reader(task, Form.of(recipe))
        if processes().is_main_process:
            _rewind(run)
        arguments = GRPOConfig(
            **trl_arguments(settings, recipe, run, seed),
            **batches(settings, len(examples) * settings.num_generations, settings.num_generations),
            **generation(settings),
            num_generations=settings.num_generations,
            num_iterations=settings.num_iterations,
            max_completion_length=settings.max_completion_length,
            temperature=settings.temperature,  # a model's own generation_config may be near-greedy: never rely on it
            top_k=settings.top_k,
            top_p=settings.top_p,
            beta=settings.beta,
            loss_type=settings.loss_type,
            scale_rewards=settings.scale_rewards,
            reward_weights=list(weights.values()),
        )
        return GrpoTrainer(
            model=model,
            reward_funcs=[reader.reward_function(name) for name in weights],
            args=arguments,
            train_dataset=grpo_columns(examples),
            processing_class=processor,
            peft_config=lora(recipe.adapter),
            reader=reader,
            record=record,
            rollouts=run / ROLLOUTS,
            reuse=settings.reuse,
            resample=settings.resample,
        )

    return make


def generation(settings: Rft) -> dict[str, Any]:
    """What writes the completions, as TRL wants it: the model itself, or vLLM beside it or on other GPUs.

    The address of a vLLM server is no parameter, because results do not depend on it: VRFT_VLLM_URL. Not
    yet run with vLLM, which needs a GPU.
    """
    if settings.generation == "transformers":
        return {"generation_kwargs": {"use_cache": True}}  # checkpoints may be saved with it off, which is very slow
    if settings.generation == "vllm_colocate":
        return {"use_vllm": True, "vllm_mode": "colocate", "vllm_enable_sleep_mode": True}
    url = os.environ.get("VRFT_VLLM_URL")
    if not url:
        raise InputError("VRFT_VLLM_URL", "not set, and the recipe's rft.generation is vllm_server", "name the server")
    return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url}


class Reader:
    """Reads each completion once for all rewards of a batch, and for what is measured of it.

    TRL calls one reward after the other with the same columns; what was read of the current batch is kept meanwhile.
    """

    def __init__(self, task: Task, form: Form) -> None:
        self.task, self.form = task, form
        self._key: list | None = None
        self._read: list[Any] = []
        self._truths: dict[str, Any] = {}

    def read(self, texts: list[str], examples: list[str], width: list[int], height: list[int]) -> list[Any]:
        """Completions as `rewards.read` gives them; each knows the others of its group that this process holds."""
        key = [*zip(texts, examples, strict=True)]
        if key != self._key:
            groups: dict[str, list] = defaultdict(list)
            self._read = []
            for text, example, w, h in zip(texts, examples, width, height, strict=True):
                limit = self.form.frame(w, h).limit
                thinking, native = self.form.thinking, self.form.native
                completion = self.task.rewards.read(text, limit=limit, thinking=thinking, native=native)
                completion.group = groups[example]
                completion.group.append(completion)
                self._read.append(completion)
            self._key = key
        return self._read

    def truth(self, text: str) -> Any:
        if text not in self._truths:
            self._truths[text] = self.task.rewards.truth(text)
        return self._truths[text]

    def reward_function(self, name: str) -> Callable[..., list[float | None]]:
        """The reward called `name` with TRL's signature: columns in, one number a completion out.

        None: it does not apply. Raises InputError at a non-finite number, naming the example.
        """
        reward: Reward = self.task.rewards.get(name)

        def function(completions, truth, width, height, id, trainer_state=None, **_) -> list[float | None]:
            texts = [turns[0]["content"] for turns in completions]
            values = []
            for completion, text, example in zip(self.read(texts, id, width, height), truth, id, strict=True):
                value = reward(completion, self.truth(text))
                if value is not None and not math.isfinite(value):
                    step = trainer_state.global_step + 1 if trainer_state else 0
                    raise diverged(f"reward {name!r}", value, step, [example])
                values.append(value)
            return values

        function.__name__ = name
        return function

    def health(self, texts: list[str], rows: list[dict], group: int) -> dict[str, float]:
        """What one generation batch's answers look like; groups of `group` completions lie side by side."""
        width, height = ([row[side] for row in rows] for side in ("width", "height"))
        read = self.read(texts, [row["id"] for row in rows], width, height)
        found = faults([one.parsed.reasons for one in read]) | {"groups/identical": identical(texts, group)}
        return found | self.task.diagnostics.health(read, [self.truth(row["truth"]) for row in rows])


def _rewind(run: Path) -> None:
    """Drop rollouts later than the checkpoint that training resumes from, and a truncated last line.

    Damaged lines are dropped too, with a message: rollouts are for a reader, and nothing is learned from them.
    """
    path = run / ROLLOUTS
    if not path.exists():
        return
    done = complete_checkpoints(run)
    last = done[-1][0] if done else 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    rows = [row for row in map(_row, lines) if row]
    damaged = len(lines) - len(rows)
    if damaged and last:
        print(f"{path}: {damaged} of {len(lines)} lines are damaged; they are left out", file=sys.stderr, flush=True)
    io.write_jsonl(path, [row for row in rows if row["step"] <= last])


def _row(line: str) -> dict | None:
    """A rollout; None for a damaged line."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
