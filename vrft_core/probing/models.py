"""A model folder as something that answers: this project's own way for the families it trains, else the library's.

Which questions are asked belongs to `asking`. Nothing is downloaded, no code of a model is run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from vrft_core import io
from vrft_core import policy as policies
from vrft_core.errors import InputError
from vrft_core.evaluation.decoding import complete
from vrft_core.families import registry
from vrft_core.families.family import Family
from vrft_core.policy.processor import load_processor
from vrft_core.probing.asking import Answer
from vrft_core.probing.conventions import Resizing

BOUNDS = 3136, 401_408  # pixels an image is resized to, unless the model takes less
MAX_NEW_TOKENS = 128
BATCH = 32


@dataclass(frozen=True)
class Probed:
    """`family`: None where no module knows the model. `pixels`: of an image, at most."""

    answer: Answer
    family: Family | None
    resizing: Resizing | None
    pixels: int


def load(directory: Path, cell: int | None = None, bounds: tuple[int, int] | None = None) -> Probed:
    """A model on disk. `cell`, `bounds`: what a recipe says of resizing; else the family's cell and BOUNDS.

    Raises InputError where there is no model, or where its processor cannot be loaded here.
    """
    config = directory / "config.json"
    if not config.is_file():
        raise InputError(directory, "no model here (config.json)", "name a folder with one, or a cell")
    family = registry.of_model(str(io.read_json(config).get("model_type")))
    if family is None or not family.trained:
        model, processor = _theirs(directory, family)
        return Probed(_generating(model, processor), family, None, BOUNDS[1])
    model, processor = policies.load(directory)
    saved = load_processor(directory).image_processor
    covered = cell or saved.patch_size * saved.merge_size
    lowest, highest = bounds or (saved.size["shortest_edge"], min(saved.size["longest_edge"], BOUNDS[1]))
    processor = load_processor(directory, lowest, highest)
    return Probed(_completing(model, processor), family, Resizing(covered, (lowest, highest)), highest)


def _theirs(directory: Path, family: Family | None) -> tuple[Any, Any]:
    """The library's own classes, safetensors only."""
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoProcessor.from_pretrained(directory, **options)
        model = AutoModelForImageTextToText.from_pretrained(directory, dtype="auto", use_safetensors=True, **options)
    except ImportError as error:
        needs = "pip install torchvision" if family is None or family.torchvision else "install what it names"
        raise InputError(directory, f"its processor cannot be loaded: {_first_line(error)}", needs) from None
    except (OSError, ValueError) as error:
        raise InputError(directory, f"cannot be loaded: {_first_line(error)}", "is it a whole model folder?") from None
    if not hasattr(processor, "image_processor"):
        raise InputError(directory, "its processor loads without one for images", "pip install torchvision")
    return model.eval(), processor


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _completing(model: Any, processor: Any) -> Answer:
    def answer(pictures: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> list[list[str]]:
        found = complete(
            model, processor, pictures, questions, batch_size=BATCH, max_new_tokens=MAX_NEW_TOKENS
        )  # fmt: skip
        decode = processor.tokenizer.decode
        return [[decode(one.tokens, skip_special_tokens=True) for one in texts] for texts in found]

    return answer


def _generating(model: Any, processor: Any) -> Answer:
    """All questions about an image at once, greedy. Location tokens may be special: only the ends are taken out."""
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    ends = [token for token in (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token) if token]

    def prompt(question: str) -> str:
        if not getattr(processor, "chat_template", None):
            return question
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        return processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)

    @torch.no_grad()
    def answer(pictures: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> list[list[str]]:
        found = []
        for picture, asked in zip(pictures, questions, strict=True):
            images, text = [[picture] for _ in asked], [prompt(one) for one in asked]
            inputs = processor(images=images, text=text, padding=True, return_tensors="pt").to(model.device)
            written = model.generate(
                **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
            start = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
            texts = tokenizer.batch_decode(written[:, start:], skip_special_tokens=False)
            for token in ends:
                texts = [text.replace(token, "") for text in texts]
            found.append([text.strip() for text in texts])
        return found

    return answer
