"""Floating-point operations of training a vision-language model: one formula for plans and for what a run records.

Counted are matrix products, a multiplication and an addition as two operations; the rest is below a few per cent.
Every completion is taken to run its own prompt and image, as TRL does it: an upper bound where work is shared.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """What the count needs to know of a model; weights as numbers of parameters."""

    layers: int  # that attend; what a layer with a recurrent state adds to its weights' products is not counted
    width: int  # attention heads × their size
    language: int  # weights of the language layers
    head: int  # vocabulary × hidden size
    vision: int  # weights of the vision blocks and the patch embedding
    merger: int  # weights of what turns merged patches into language tokens
    vision_layers: int
    vision_width: int
    merge: int  # patches that become one token
    window: int | None  # patches a windowed vision layer attends to
    windowed_layers: int

    @classmethod
    def of(cls, model: Any) -> "Shape":
        """From a Qwen-VL model of `transformers`, on any device, the meta device too."""
        inner = model.model
        text, vision = model.config.text_config, model.config.vision_config
        window = getattr(vision, "window_size", None)
        full = getattr(vision, "fullatt_block_indexes", None)
        visual_weights = _weights(inner.visual)
        merger = sum(_weights(module) for name, module in inner.visual.named_children() if "merger" in name)
        head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return cls(
            layers=attending(text),
            width=text.num_attention_heads * head_size,
            language=_weights(inner.language_model.layers),
            head=text.vocab_size * text.hidden_size,
            vision=visual_weights - merger,
            merger=merger,
            vision_layers=vision.depth,
            vision_width=getattr(vision, "embed_dim", vision.hidden_size),
            merge=vision.spatial_merge_size**2,
            window=(window // vision.patch_size) ** 2 if window and full else None,
            windowed_layers=vision.depth - len(full) if window and full else 0,
        )

    def see(self, patches: float, images: float) -> float:
        """The vision tower on `images` of equal size with `patches` in all."""
        each = patches / images
        attention = 4 * self.vision_width * patches * (self.vision_layers - self.windowed_layers) * each
        attention += 4 * self.vision_width * patches * self.windowed_layers * min(self.window or 0, each)
        return 2 * self.vision * patches + attention + 2 * self.merger * patches / self.merge

    def read(self, tokens: float, rows: float) -> float:
        """The language layers on `rows` of equal length with `tokens` in all; half of the attention is masked."""
        return 2 * self.language * tokens + 2 * self.layers * self.width * tokens * tokens / rows

    def say(self, tokens: float) -> float:
        """The head, for `tokens` positions."""
        return 2 * self.head * tokens


@dataclass(frozen=True)
class Load:
    """What is run in total, over a whole training or a step."""

    rows: float  # completions
    tokens: float  # prompts and completions, image tokens among them
    completion_tokens: float
    patches: float  # of all rows' images, before merging

    def forward(self, shape: Shape) -> tuple[float, float]:
        """(vision, language) of one pass over everything; logits of completions only."""
        return shape.see(self.patches, self.rows), shape.read(self.tokens, self.rows) + shape.say(
            self.completion_tokens
        )


def supervised(shape: Shape, load: Load, adapter: bool) -> float:
    """A pass with its gradient. Through frozen layers only the gradient of the input runs; below an adapter, none."""
    vision, language = load.forward(shape)
    return vision * (1 if adapter else 3) + language * (2 if adapter else 3)


def reinforced(shape: Shape, load: Load, adapter: bool, reference: bool, updates: int = 1) -> dict[str, float]:
    """{"generation", "reference", "update"}: writing the completions, their likelihoods, and the update.

    `load` is that of the updates; `updates` of them learn from one generation, and more than one need the likelihoods
    under the policy that wrote it.
    """
    vision, language = load.forward(shape)
    return {
        "generation": (vision + language) / updates,
        "reference": (vision + language) * (reference + (updates > 1)) / updates,
        "update": supervised(shape, load, adapter),
    }


def guessed(shape: Shape, load: Load, tokens: float) -> float:
    """`tokens` run behind prompts and answers of the load's average length, and thrown away: wrong guesses."""
    attention = 4 * shape.layers * shape.width * tokens * load.tokens / load.rows
    return 2 * shape.language * tokens + attention + shape.say(tokens)


def attending(text: Any) -> int:
    """How many of a language model's layers attend, and hold keys and values: hybrid models have others."""
    kinds = getattr(text, "layer_types", None)
    return sum(kind != "linear_attention" for kind in kinds) if kinds else text.num_hidden_layers


def _weights(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
