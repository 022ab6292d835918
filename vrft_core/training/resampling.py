"""A group whose completions all have the same reward teaches nothing: its question is replaced by another.

Dynamic sampling as in DAPO (arXiv 2503.14476, section 3.2), but within the current step. Rewards and records of
completions belong to `rft`.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor

from vrft_core.training.batches import multimodal
from vrft_core.training.grpo import ReusingGRPOTrainer

SAME = 1e-6  # rewards that differ by less differ by rounding; TRL divides differences by a deviation of 1e-4 at least


@dataclass(frozen=True)
class Group:
    """One question's rows and what was answered: token ids, their log-probabilities if the sampler gives them."""

    rows: list[dict]
    completion_ids: list[list[int]]
    log_probs: list[list[float]] | None
    tokens: int  # prompts and completions

    @property
    def example_id(self) -> str:
        return self.rows[0]["id"]


class ResamplingGRPOTrainer(ReusingGRPOTrainer):
    """Draws other questions for groups without variance, in up to `resample` rounds a step; 0 is TRL's own step.

    Rows name their example in `id`. Which question comes next follows from seed and step alone, so that a
    resumed run draws the same. In a round each process takes as many as the one that needs most, since generation and
    rewards are collective calls. TRL then gets the rows that are left with their completions, and logs these only.
    """

    train_dataset: Dataset

    def __init__(self, *args: Any, resample: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.resample = resample
        self.discarded_tokens = 0  # of all processes, for the current batch
        self._ready: tuple[list, list | None] | None = None  # completions that wait for TRL to ask for them

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        self.discarded_tokens = 0
        if not self.resample or not self.model.training:
            return super()._generate_and_score_completions(inputs)
        groups = self._varied(inputs)
        completion_ids = [ids for group in groups for ids in group.completion_ids]
        log_probs = [row for group in groups for row in group.log_probs or ()]
        self._ready = completion_ids, log_probs or None
        return super()._generate_and_score_completions([row for group in groups for row in group.rows])

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> tuple:
        if self._ready is None:
            return super()._generate_single_turn(*args, **kwargs)
        ready, self._ready = self._ready, None
        return ready

    def _updates_next(self) -> bool:
        return not self.resample and super()._updates_next()  # else most of it may be replaced

    def _varied(self, inputs: list[dict]) -> list[Group]:
        """This process's groups once those without variance have been replaced, as far as the rounds go."""
        rank, count = self.accelerator.process_index, self.accelerator.num_processes
        groups, varies = self._answer(inputs)
        dead = [place for place, lively in enumerate(varies[rank]) if not lively]
        missing = [row.count(False) for row in varies]  # by process
        asked = gather_object([group.example_id for group in groups])
        questions = self._questions(asked, [lively for row in varies for lively in row])
        before, extra, answered = sum(missing), 0, sum(group.tokens for group in groups)
        for _ in range(self.resample):
            if not (share := max(missing)):
                break
            drawn = list(islice(questions, share * count))[rank * share : (rank + 1) * share]
            rows = [self.train_dataset[number] for number in drawn]
            fresh, varies = self._answer([dict(row) for row in rows for _ in range(self.num_generations)])
            for group, lively in zip(fresh, varies[rank], strict=True):
                if lively and dead:
                    groups[dead.pop(0)] = group
            missing = [max(old - sum(row), 0) for old, row in zip(missing, varies, strict=True)]
            extra += share * count
            answered += sum(group.tokens for group in fresh)
        shares = {"resampled": before - sum(missing), "dead": sum(missing), "discarded": extra}
        for name, number in shares.items():
            self._metrics["train"][f"groups/{name}"].append(number / len(asked))
        discarded = torch.tensor(answered - sum(group.tokens for group in groups), device=self.accelerator.device)
        self.discarded_tokens = int(cast(Tensor, self.accelerator.reduce(discarded, "sum"))) if extra else 0
        return groups

    def _answer(self, inputs: list[dict]) -> tuple[list[Group], list[list[bool]]]:
        """Write completions for whole groups. For each process: which of its groups vary in what they are worth."""
        rows, size = self._take(inputs), self.num_generations
        prompts = [multimodal(row)["prompt"] for row in inputs]
        with self._unlogged():
            prompt_ids, completion_ids, _, completions, log_probs, *_ = self._generate(prompts)
            rewards = self._calculate_rewards(rows, prompts, completions, completion_ids)
        groups = []
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            tokens = sum(map(len, prompt_ids[part])) + sum(map(len, completion_ids[part]))
            groups.append(Group(inputs[part], completion_ids[part], log_probs and log_probs[part], tokens))
        lively = vary(rewards, self.reward_weights.to(rewards.device), size).tolist()
        return groups, [lively[start : start + len(groups)] for start in range(0, len(lively), len(groups))]

    def _questions(self, asked: list[str], varied: list[bool]) -> Iterator[int]:
        """Numbers of training examples, without end, the same on all processes: first those not asked in this step.

        Those just found without variance come only where there are no others.
        """
        dead = {name for name, lively in zip(asked, varied, strict=True) if not lively}
        names = list(self.train_dataset["id"])
        order = list(range(len(names)))
        random.Random(f"{self.args.seed}/{self.state.global_step}").shuffle(order)
        order = [number for number in order if names[number] not in dead] or order
        return cycle(sorted(order, key=lambda number: names[number] in asked))

    @contextmanager
    def _unlogged(self) -> Iterator[None]:
        """What TRL and the rewards would log of a batch that may be thrown away is forgotten."""
        kept = self._metrics, self._pending_metrics, self._pending_extra_logs, self.state.num_input_tokens_seen
        self._metrics = {mode: defaultdict(list) for mode in self._metrics}
        self._pending_metrics, self._pending_extra_logs = defaultdict(list), defaultdict(list)
        try:
            yield
        finally:
            self._metrics, self._pending_metrics, self._pending_extra_logs = kept[:3]
            self.state.num_input_tokens_seen = kept[3]


def vary(rewards: Tensor, weights: Tensor, size: int) -> Tensor:
    """[groups]: whether weighted sums of `rewards` [groups × size, rewards] differ in a group; NaN: does not apply."""
    total = (rewards * weights).nansum(1)
    total[rewards.isnan().all(1)] = torch.nan
    groups = total.view(-1, size)
    return groups.nan_to_num(-torch.inf).amax(1) - groups.nan_to_num(torch.inf).amin(1) > SAME
