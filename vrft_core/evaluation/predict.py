"""Asking a model and reading its answers: greedy, in batches, one row a query.

Which questions to ask belongs to `queries`, how answers are generated to `decoding`; what the rows are worth belongs
to `average_precision`.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.answers import parse_detection
from vrft_core.evaluation import ranking
from vrft_core.evaluation.decoding import Completion, complete
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


def predict(
    model: Any,
    processor: Any,
    queries: Sequence[Query],
    *,
    batch_size: int,
    max_new_tokens: int,
    what: str = "predict",
    kept: Path | None = None,
    samples: int = 0,
) -> list[dict]:
    """One row a query, in order: completion, boxes (xyxy pixels of the image), scores, rankings, reasons, tokens.

    `scores` are the confidences the model states, `rankings` the other scores (name → one a box) that `ranking`
    explains. Greedy: no random number is drawn. An image is read and encoded once for all its queries.

    `kept` is a file that grows by each batch answered. What is in it is not asked again; batches are the same in every
    attempt, so that an interrupted prediction ends with the same rows as any other. The caller sees to it that it
    belongs to the same model and queries, and removes it.

    With `samples`, each question is answered that many times more, at temperature 1, for the ranking `consistency`.
    """
    batches = plan(queries, batch_size)
    rows = _answered(kept)
    progress = Progress(what, len(queries), start=len(rows))
    was_training = model.training
    model.eval()
    ask = partial(_ask, model, processor, queries, batch_size=batch_size, max_new_tokens=max_new_tokens)
    for number, batch in enumerate(batches):
        if batch[0][0] in rows:
            continue
        new = {index: row for index, (row,) in ask(batch).items()}
        if samples:
            generator = torch.Generator(model.device).manual_seed(number)  # the batch's own: as in any other attempt
            for index, drawn in ask(batch, times=samples, generator=generator).items():
                boxes = [row["boxes"] for row in drawn]
                new[index]["rankings"]["consistency"] = ranking.consistency(new[index]["boxes"], boxes)
        rows |= new
        if kept:
            with open(kept, "a", encoding="utf-8") as file:
                file.write(json.dumps(list(new.items()), ensure_ascii=False) + "\n")
        progress.step(len(new))
    model.train(was_training)
    return [rows[index] for index in range(len(queries))]


def _ask(
    model: Any,
    processor: Any,
    queries: Sequence[Query],
    batch: list[list[int]],
    times: int = 1,
    **settings: Any,
) -> dict[int, list[dict]]:
    """Position of each query in a batch → the rows of its answers, `times` of them."""
    pictures = [queries[image[0]].picture() for image in batch]
    questions = [[queries[index].question for index in image for _ in range(times)] for image in batch]
    found = {}
    for image, answers in zip(batch, complete(model, processor, pictures, questions, **settings), strict=True):
        rest = iter(answers)
        found |= {
            index: [_row(queries[index], next(rest), processor.tokenizer) for _ in range(times)] for index in image
        }
    return found


def plan(queries: Sequence[Query], batch_size: int) -> list[list[list[int]]]:
    """Positions of the queries, by batch and image: images of like size together, about `batch_size` queries a batch.

    An image is never divided; one with more queries than that makes a batch of its own.
    """
    images: dict[int, list[int]] = {}
    for index, query in enumerate(queries):
        images.setdefault(query.image_id, []).append(index)
    batches: list[list[list[int]]] = []
    room = 0
    for image in sorted(images.values(), key=lambda image: _size(queries[image[0]])):
        if len(image) > room:
            batches.append([])
            room = batch_size
        batches[-1].append(image)
        room -= len(image)
    return batches


def _size(query: Query) -> tuple[int, int]:
    return query.frame.width * query.frame.height, query.frame.width


def _answered(kept: Path | None) -> dict[int, dict]:
    """Rows of the batches that were finished before; a line cut short is removed from the file."""
    if kept is None or not kept.exists():
        return {}
    text = kept.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")[:-1]
    whole, batches = [], []
    for line in lines:
        with suppress(ValueError):
            batches.append([(index, row) for index, row in json.loads(line)])
            whole.append(line)
    if len(whole) < len(lines):
        print(f"{kept}: {len(lines) - len(whole)} damaged lines; their questions are asked again", file=sys.stderr)
    io.write_text(kept, "".join(f"{line}\n" for line in whole))
    return {index: row for batch in batches for index, row in batch}


def _row(query: Query, completion: Completion, tokenizer: Any) -> dict:
    tokens, *values = completion
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    parsed = parse_detection(text, query.frame.limit)
    boxes = [d.box for d in parsed.detections]
    return {
        "image_id": query.image_id,
        "category_id": query.category_id,
        "completion": text,
        "boxes": [[round(v, 3) for v in query.frame.to_pixels(box)] for box in boxes],
        "scores": [d.confidence for d in parsed.detections],
        "rankings": ranking.token_scores(text, boxes, ranking.places(tokenizer, tokens, text), *values),
        "reasons": list(parsed.reasons),
        "tokens": len(tokens),
    }
