"""TRL's GRPO trainer without repeated work: what is equal for a whole group is computed once.

Small overrides around TRL's own steps; the algorithm stays TRL's. Rewards and records belong to `rft`, the work
itself to `shared_prompt` and `vision_cache`.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl.models.utils import unwrap_model_for_generation
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from vrft_core.params import Reuse
from vrft_core.policy.adapters import plain_adapters
from vrft_core.training import drafting, shared_prompt
from vrft_core.training.batches import holds_pictures, multimodal, until_end, whole_groups
from vrft_core.training.drafting import Drafting
from vrft_core.training.model_inputs import token_types
from vrft_core.training.reuse import bare_model, is_sharded, without_obstacles
from vrft_core.training.shared_prompt import (
    Prefill,
    Prompt,
    can_share,
    has_grid,
    image_grid,
    read_prompt,
    text_inputs,
)
from vrft_core.training.tiles import small_tiles
from vrft_core.training.vision_cache import PATCH_BYTES, FeatureCache, PatchCache


class ReusingGRPOTrainer(GRPOTrainer):
    """Same numbers as TRL's within rounding. What cannot be shared exactly is done TRL's way, and said in a line.

    Rows are prompts in conversational form with PIL images in `image` or `images`.
    """

    args: GRPOConfig
    model: PreTrainedModel
    processing_class: Any  # a processor with an image processor and a tokenizer
    num_generations: int
    chat_template_kwargs: dict[str, Any]

    def __init__(self, *args: Any, reuse: Reuse | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reuse = without_obstacles(self, reuse or Reuse())
        self._prompts: list[Prompt] | None = None  # of the current rows; None: TRL's way
        self._rows: list[dict] = []
        self._kept: Prefill | None = None  # of the current prompts, with its graph
        self._features = FeatureCache()
        self._drafting = Drafting() if self.reuse.drafting else None
        self.guessed_in_vain = 0  # places of passes, of all processes, for the current batch
        if any(self.reuse.model_dump().values()):
            limit = PATCH_BYTES if self.reuse.image_preprocessing else 0
            self._patches = PatchCache(self.processing_class.image_processor, limit)

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        output = super()._generate_and_score_completions(self._take(inputs))
        if self._drafting is not None:
            in_vain = torch.tensor(self._drafting.in_vain, device=self.accelerator.device)
            self.guessed_in_vain = int(cast(Tensor, self.accelerator.reduce(in_vain, "sum")))
            for name, value in self._drafting.measured().items():
                self._metrics["train" if self.model.training else "eval"][name].append(value)
        return output if self._prompts is None else {**output, "prompts": self._prompts}

    def _take(self, inputs: list[dict]) -> list[dict]:
        """Make `inputs` the current rows; returns them in the form that TRL expects."""
        self._prompts, self._kept, self._rows = None, None, inputs
        rows = [multimodal(row) for row in inputs]
        if not any(self.reuse.model_dump().values()) or not all(map(holds_pictures, rows)):
            return inputs
        # Without an image column TRL runs no processor of its own: prompts come from here, below
        self._prompts = self._read(rows)
        return rows

    def _read(self, rows: list[dict]) -> list[Prompt]:
        """The rows' prompts; that of a group, whose rows lie side by side, is read once."""
        template = {"chat_template": self.chat_template, **self.chat_template_kwargs}
        patches = partial(self._patches.patches, settings=self._patches.settings())
        read = partial(read_prompt, self.processing_class, read=patches, **template)
        prompts: list[Prompt] = []
        for i, row in enumerate(rows):
            again = i > 0 and row["prompt"] == rows[i - 1]["prompt"]  # images are compared by their pixels
            prompts.append(prompts[-1] if again else read(row["prompt"]))
        return prompts

    def _tokenize_prompts(self, prompts: list) -> tuple:
        if self._prompts is None:
            return super()._tokenize_prompts(prompts)
        images = [
            [part["image"] for message in prompt for part in message["content"] if part["type"] == "image"] or None
            for prompt in prompts
        ]
        return [prompt.input_ids.tolist() for prompt in self._prompts], images, {}

    def _generate(self, prompts: list) -> tuple:
        generated = super()._generate(prompts)
        if self._prompts is None:
            return generated
        *others, _, tool_images = generated
        return *others, None, tool_images

    def _calculate_rewards(self, inputs: list[dict], *args: Any) -> Tensor:
        return super()._calculate_rewards(self._rows, *args)  # with their images

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs) -> tuple:
        if self._prompts is None or self.use_vllm:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, **kwargs)
        if is_sharded(self):
            fields = self._fields(self._prompts)
            return super()._generate_single_turn(prompt_ids, images, fields, num_generations, **kwargs)
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                generation_kwargs=self.generation_kwargs,
                gradient_checkpointing_kwargs=cast(dict | None, self.args.gradient_checkpointing_kwargs),  # str: CLI's
            ) as model,
            torch.no_grad(),
            self.accelerator.autocast(),  # entered once: otherwise it would cast all weights for every token
            plain_adapters(self.model),
        ):
            bare = bare_model(model)
            ids, mask, types = text_inputs(self._prompts, self._padding, bare.device)
            if self.reuse.shared_prompt and can_share(self._prompts) and self.args.cache_implementation is None:
                start = self._start(bare, self._prompts)
                generation = {
                    "input_ids": ids,
                    "attention_mask": mask,
                    "position_ids": start.positions,
                    "past_key_values": start.cache,
                    "custom_generate": shared_prompt.decode if self._drafting is None else self._drafted(),
                }
            else:
                inputs = {"input_ids": ids, "attention_mask": mask, **token_types(bare, types)}
                generation = {**inputs, **self._vision_inputs(bare, self._prompts)}
            tokens = model.generate(**generation, generation_config=self.generation_config)[:, ids.shape[1] :]
        return [until_end(row, self.eos_token_ids) for row in tokens.tolist()], None

    def _start(self, bare: PreTrainedModel, prompts: list[Prompt]) -> Prefill:
        """The prompts for generation. An update that follows at once starts from the same: its graph is kept.

        One prompt only: TRL shuffles rows, and several prompts run in another order may round differently.
        """
        keep = self._updates_next() and len({prompt.key for prompt in prompts}) == 1
        with torch.set_grad_enabled(keep):
            begun = shared_prompt.prefill(bare, bare, prompts, self._vision_inputs, self._padding)
        self._kept = begun if keep else None
        return begun.over(prompts)

    def _updates_next(self) -> bool:
        """Whether what is generated now, all of it, decides the next update, and that one alone."""
        once = self.args.steps_per_generation == self.num_iterations == 1
        alone = self.model_wrapped is self.model and not self.model.is_activation_checkpointing
        return self.model.training and once and alone

    def _drafted(self) -> partial:
        keys = [prompt.key for prompt in cast(list[Prompt], self._prompts)]
        return partial(drafting.decode, drafting=cast(Drafting, self._drafting), questions=keys)

    @property
    def _padding(self) -> int:
        return cast(int, self._tokenizer.pad_token_id)

    def _prepare_inputs(self, generation_batch: Any) -> dict:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before or "prompts" not in inputs:
            return inputs
        # TRL has dealt out single rows: put groups together again, in the order it drew
        self._buffered_inputs = whole_groups(self._buffered_inputs)
        return self._buffered_inputs[self._step % cast(int, self.args.steps_per_generation)]  # TRL has filled it in

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        with small_tiles(self.accelerator.device):
            return super().training_step(*args, **kwargs)

    def _compute_loss(self, model: nn.Module, inputs: dict) -> Tensor:
        self._prompts = inputs.get("prompts")
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if self._prompts is None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **kwargs
            )
        size = batch_size or len(input_ids)
        chunks = [slice(start, start + size) for start in range(0, len(input_ids), size)]
        with self.accelerator.autocast(), self._lean(model):
            parts = [
                self._log_probs(model, self._prompts[rows], input_ids[rows], attention_mask[rows], logits_to_keep)
                for rows in chunks
            ]
        log_probs, entropies = zip(*parts, strict=True)
        return torch.cat(log_probs), torch.cat(entropies) if compute_entropy else None, None

    def _lean(self, model: nn.Module) -> AbstractContextManager[None]:
        """Adapters without PEFT's surroundings; not where a pass puts other weights in place, as FSDP does."""
        return nullcontext() if is_sharded(self) else plain_adapters(self.accelerator.unwrap_model(model))

    def _log_probs(
        self, model: nn.Module, prompts: list[Prompt], input_ids: Tensor, mask: Tensor, length: int
    ) -> tuple[Tensor, Tensor | None]:
        """Of the last `length` tokens of each row, [rows, length]; and entropies."""
        bare = bare_model(self.accelerator.unwrap_model(model))
        checkpointing = torch.is_grad_enabled() and bare.is_activation_checkpointing  # it keeps no keys and values
        if self.reuse.shared_prompt and can_share(prompts) and not checkpointing:
            begun = self._kept if torch.is_grad_enabled() else None
            if begun is None:
                begun = shared_prompt.prefill(model, bare, prompts, self._vision_inputs, self._padding)
            else:
                self._kept = None  # its graph serves one update
            return shared_prompt.log_probs(model, begun.over(prompts), input_ids[:, -length:], mask[:, -length:])
        types = (prompt.token_types for prompt in prompts)
        types = shared_prompt.pad_left(types, 0, input_ids.shape[1] - length).to(input_ids.device)
        labels = input_ids.masked_fill(mask == 0, -100)
        labels[:, :-length] = -100
        outputs = model(
            input_ids=input_ids,
            attention_mask=mask,
            **token_types(bare, nn.functional.pad(types, (0, length))),
            **self._vision_inputs(bare, prompts),
            labels=labels,
            fused_lm_head=True,
        )
        entropy = outputs.entropy
        return outputs.log_probs[:, -length:], None if entropy is None else entropy[:, -length:]

    def _vision_inputs(self, bare: PreTrainedModel, prompts: list[Prompt]) -> dict:
        """What the model needs to see the prompts' images: features where the tower is frozen, else pixels."""
        images = [patches for prompt in prompts for patches in prompt.images]
        if not images:
            return {}
        grid = {"image_grid_thw": image_grid(prompts, bare.device)} if has_grid(prompts) else {}
        if self.reuse.vision_features and self._features.frozen(bare):
            return {**grid, "mm_encoder_outputs": {"image": self._features.features(bare, images)}}
        pixels = torch.cat([patches.pixel_values for patches in images]).to(bare.device)
        return {**grid, "pixel_values": pixels}

    def _fields(self, prompts: list[Prompt]) -> dict:
        """As TRL's own tokenisation gives them."""
        pixels = self._vision_inputs(bare_model(self.accelerator.unwrap_model(self.model)), prompts)
        return {**pixels, "mm_token_type_ids": [prompt.token_types.tolist() for prompt in prompts]}
