"""Supervised fine-tuning on TRL: the likelihood of the true answer, nothing else in the loss."""

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from vrft_core.params import Recipe
from vrft_core.policy.processor import ImageProcessor
from vrft_core.tasks.task import Task
from vrft_core.training.data import sft_columns
from vrft_core.training.loop import Counting, batches, lora, trl_arguments
from vrft_core.training.record import Record


class SftTrainer(Counting, SFTTrainer):
    """TRL's, and it knows which examples a batch holds; every target token weighs the same in whichever process."""

    def __init__(self, *args: Any, record: Record, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.record, self.batch_examples = record, []
        # Qwen-VL models say they take no token count, and TRL, which does, would average over processes' averages.
        self.model_accepts_loss_kwargs = True
        self._total_train_tokens = record.cost["tokens"]  # TRL's own count forgets what came before a checkpoint
        collate = self.data_collator

        def named(rows: list[dict]) -> dict:
            ids = [row["id"] for row in rows]
            return {**collate([{k: v for k, v in row.items() if k != "id"} for row in rows]), "ids": ids}

        self.data_collator = named

    def _prepare_inputs(self, inputs: dict) -> dict:
        self.batch_examples = inputs.pop("ids")
        prepared = super()._prepare_inputs(inputs)
        learned = (prepared["labels"] != -100).sum()
        tokens = prepared["attention_mask"].sum()
        self.count(len(self.batch_examples), tokens, learned, prepared["image_grid_thw"])
        return prepared


def make_trainer(recipe: Recipe, task: Task, run: Path, seed: int):
    """A function as `loop.train` wants it. Prompt and completion columns make TRL leave the prompt out of the loss."""

    def make(model: PreTrainedModel, processor: ImageProcessor, examples: Dataset, record: Record) -> SftTrainer:
        settings = recipe.sft
        arguments = SFTConfig(
            **trl_arguments(settings, recipe, run, seed),
            **batches(settings, len(examples)),
            max_length=None,  # cutting would cut image tokens
        )
        return SftTrainer(
            model=model,
            args=arguments,
            train_dataset=sft_columns(examples, settings.targets),
            processing_class=processor,
            peft_config=lora(recipe.adapter),
            record=record,
        )

    return make
