"""Asking a model and reading its answers: greedy, in batches, one row a question.

Which questions to ask belongs to each task's `prompts`, how answers are generated to `decoding`; what the rows are
worth belongs to each task's `metrics`.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch

from vrft_core import io
from vrft_core.evaluation.decoding import Asked, Tokens, complete, read
from vrft_core.families.form import Form
from vrft_core.families.formats import NOTHING
from vrft_core.progress import Progress
from vrft_core.tasks.task import Example, Prediction, Task, Written

T = TypeVar("T")
Made = TypeVar("Made")


def predict(
    model: Any,
    processor: Any,
    examples: Sequence[Example],
    task: Task,
    form: Form,
    *,
    batch_size: int,
    max_new_tokens: int,
    what: str = "predict",
    kept: Path | None = None,
    samples: int = 0,
) -> list[Prediction]:
    """One row an example, in order, with what the task adds. What the examples say is true is not looked at.

    Greedy: no random number is drawn. An image is read and encoded once for all its questions.

    `kept` is a file that grows by each batch answered. What is in it is not asked again; batches are the same in every
    attempt, so that an interrupted prediction ends with the same rows as any other. The caller sees to it that it
    belongs to the same model and questions, and removes it.

    With `samples`, each question is answered that many times more, at temperature 1, for `answers.agree`.
    """
    batches = plan(examples, batch_size)
    rows = _answered(kept)
    progress = Progress(what, len(examples), start=len(rows))
    was_training = model.training
    model.eval()
    firsts = _watched(processor.tokenizer, task.answers.WATCHED, form)
    limits = {"batch_size": batch_size, "max_new_tokens": max_new_tokens, "watched": sorted(firsts)}
    ask = partial(_ask, model, processor, examples, task, form, **limits)
    missing = [(number, batch) for number, batch in enumerate(batches) if batch[0][0] not in rows]
    # the next batch's images are read while a GPU answers; on a CPU that would only compete
    asked = repeat(None) if model.device.type == "cpu" else ahead(missing, partial(_read, processor, examples))
    for (number, batch), one in zip(missing, asked, strict=False):
        new = {index: row for index, (row,) in ask(batch, asked=one).items()}
        if samples:
            generator = torch.Generator(model.device).manual_seed(number)  # the batch's own: as in any other attempt
            for index, drawn in ask(batch, times=samples, generator=generator).items():
                task.answers.agree(new[index], drawn)
        rows |= new
        if kept:
            with open(kept, "a", encoding="utf-8") as file:
                file.write(json.dumps(list(new.items())) + "\n")
        progress.step(len(new))
    model.train(was_training)
    return [rows[index] for index in range(len(examples))]


def ahead(items: Sequence[T], make: Callable[[T], Made]) -> Iterator[Made]:
    """`make` of each item in order; the next one is made in a thread while the last is being used."""
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(make, item) for item in items[:1])
        for item in items[1:]:
            coming.append(thread.submit(make, item))
            yield coming.popleft().result()
        for one in coming:
            yield one.result()


def _read(processor: Any, examples: Sequence[Example], numbered: tuple[int, list[list[int]]]) -> Asked:
    batch = numbered[1]
    pictures = [examples[image[0]].picture() for image in batch]
    return read(processor, pictures, [[examples[index].question for index in image] for image in batch])


def _watched(tokenizer: Any, texts: Sequence[str], form: Form) -> set[int]:
    """The tokens with which these texts begin; 'No Objects' as the form that is asked for says it.

    A token with which an answer that holds a box begins, too, tells nothing and is left out.
    """

    def first(text: str) -> int:
        return tokenizer(text, add_special_tokens=False)["input_ids"][0]

    if form.native is None:
        return {first(text) for text in texts}
    nothing = form.native.nothing
    firsts = {first(nothing if text == NOTHING else text) for text in texts}
    return firsts - {first(form.native.write([[1, 2, 3, 4]], "x"))}


def _ask(
    model: Any,
    processor: Any,
    examples: Sequence[Example],
    task: Task,
    form: Form,
    batch: list[list[int]],
    times: int = 1,
    asked: Asked | None = None,
    **settings: Any,
) -> dict[int, list[Prediction]]:
    """Position of each example in a batch → the rows of its answers, `times` of them."""
    pictures = [] if asked else [examples[image[0]].picture() for image in batch]
    questions = [[examples[index].question for index in image for _ in range(times)] for image in batch]
    found = {}
    completions = complete(model, processor, pictures, questions, asked=asked, **settings)
    for image, answers in zip(batch, completions, strict=True):
        rest = iter(answers)
        found |= {
            index: [_row(examples[index], task, form, next(rest), processor.tokenizer) for _ in range(times)]
            for index in image
        }
    return found


def plan(examples: Sequence[Example], batch_size: int) -> list[list[list[int]]]:
    """Positions of the examples, by batch and image: images of similar size together, about `batch_size` a batch.

    An image is never divided; one with more questions than that makes a batch of its own.
    """
    images: dict[int, list[int]] = {}
    for index, example in enumerate(examples):
        images.setdefault(example.image_id, []).append(index)
    batches: list[list[list[int]]] = []
    room = 0
    for image in sorted(images.values(), key=lambda image: _size(examples[image[0]])):
        if len(image) > room:
            batches.append([])
            room = batch_size
        batches[-1].append(image)
        room -= len(image)
    return batches


def _size(example: Example) -> tuple[int, int]:
    return example.width * example.height, example.width


def _answered(kept: Path | None) -> dict[int, Prediction]:
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


def _row(example: Example, task: Task, form: Form, completion: Tokens, tokenizer: Any) -> Prediction:
    tokens, logprobs, entropies, watched = completion
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    written = Written(text, _places(tokenizer, tokens, text), logprobs, entropies, watched)
    common = {"id": example.id, "image_id": example.image_id, "completion": text, "tokens": len(tokens)}
    return cast(Prediction, {**common, **task.answers.row(example, form, written)})


def _places(tokenizer: Any, tokens: Sequence[int], text: str) -> list[tuple[int, int]]:
    """Start and end of each token in the decoded `text`; characters that several tokens spell belong to the last."""
    if not tokens:
        return []
    pieces = tokenizer.batch_decode([[token] for token in tokens], skip_special_tokens=True)
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    if "".join(pieces) != text:  # a character is spread over tokens
        starts = (tokenizer.decode(tokens[: i + 1], skip_special_tokens=True) for i in range(len(tokens)))
        ends = [len(start.rstrip("�")) for start in starts]
    return list(zip([0, *ends[:-1]], ends, strict=True))
