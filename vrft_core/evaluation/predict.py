"""Asking a model and reading its answers: greedy, in batches, one row a query.

Which questions to ask belongs to `queries`; what the rows are worth belongs to `average_precision`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vrft_core.annotations import Annotations
from vrft_core.answers import parse_detection
from vrft_core.params import Recipe
from vrft_core.progress import Progress
from vrft_core.prompts import Frame, frame, question


@dataclass(frozen=True)
class Query:
    """One question about one image. `image` is a file or a picture already in memory."""

    image_id: int
    category_id: int
    question: str
    image: Path | Image.Image
    frame: Frame

    def picture(self) -> Image.Image:
        if isinstance(self.image, Image.Image):
            return self.image.convert("RGB")
        with Image.open(self.image) as picture:
            return picture.convert("RGB")


def build_queries(
    pairs: Sequence[tuple[int, int]], annotations: Annotations, images: Path, recipe: Recipe
) -> list[Query]:
    """Queries for (image, category) pairs, with the recipe's question and coordinate frame."""
    policy = recipe.policy
    queries = []
    for image_id, category_id in pairs:
        image = annotations.images[image_id]
        text = question(
            annotations.categories[category_id]["name"],
            thinking=recipe.prompts.thinking,
            family=policy.family,
        )
        coordinates = frame(policy, image["width"], image["height"])
        queries.append(Query(image_id, category_id, text, images / image["file_name"], coordinates))
    return queries


@torch.no_grad()
def predict(
    model: Any, processor: Any, queries: Sequence[Query], *, batch_size: int, max_new_tokens: int, what: str = "predict"
) -> list[dict]:
    """One row a query, in order: completion, boxes (xyxy pixels of the image), scores, reasons, tokens.

    `scores` are the confidences the model states. Greedy: no random number is drawn.
    """
    was_training = model.training
    model.eval()
    progress = Progress(what, len(queries))
    rows = []
    for start in range(0, len(queries), batch_size):
        batch = queries[start : start + batch_size]
        for query, tokens in zip(batch, _generate(model, processor, batch, max_new_tokens), strict=True):
            rows.append(_row(query, processor.tokenizer.decode(tokens, skip_special_tokens=True), len(tokens)))
        progress.step(len(batch))
    model.train(was_training)
    return rows


def _generate(model: Any, processor: Any, batch: Sequence[Query], max_new_tokens: int) -> list[list[int]]:
    """Token ids of each completion, without the end token and padding."""
    content = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": q.question}]}] for q in batch]
    texts = [processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False) for turns in content]
    inputs = processor(
        images=[[q.picture()] for q in batch], text=texts, padding=True, padding_side="left", return_tensors="pt"
    ).to(model.device)
    ends, pad = model.generation_config.eos_token_id, processor.tokenizer.pad_token_id
    stops = {pad, *(ends if isinstance(ends, list) else [ends])}
    outputs = model.generate(
        **inputs, max_new_tokens=max_new_tokens, do_sample=False, temperature=None, top_k=None, top_p=None
    )
    completions = []
    for row in outputs[:, inputs["input_ids"].shape[1] :].tolist():
        end = next((i for i, token in enumerate(row) if token in stops), len(row))
        completions.append(row[:end])
    return completions


def _row(query: Query, completion: str, tokens: int) -> dict:
    parsed = parse_detection(completion, query.frame.limit)
    return {
        "image_id": query.image_id,
        "category_id": query.category_id,
        "completion": completion,
        "boxes": [[round(v, 3) for v in query.frame.to_pixels(d.box)] for d in parsed.detections],
        "scores": [d.confidence for d in parsed.detections],
        "reasons": list(parsed.reasons),
        "tokens": tokens,
    }
