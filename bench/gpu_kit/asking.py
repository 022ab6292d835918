"""Prediction as this project does it, and the published way: one question at a time, its image encoded again."""

import json
from typing import Any

from gpu_kit.clock import GPU, begin_peak, now, peak_gib
from gpu_kit.estimate import PARAMS
from gpu_kit.models import SHAPES, build, pictures
from gpu_kit.settings import Rows, Settings
from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.detection.prompts.questions import question
from vrft_core.tasks.task import Example

WORDS = ("dog", "cat", "person", "bicycle", "umbrella")


def run(name: str, settings: Settings, rows: Rows) -> None:
    """One row: seconds a question both ways, and how many of their answers are equal."""
    family = SHAPES[name][-1]
    texts = [question(word, thinking=True, family=family) for word in WORDS]
    model, processor = build(name, " ".join(texts), "cuda" if GPU else "cpu", settings.toy)
    model.eval()
    examples = [
        Example(
            f"{i}-{j}", i, settings.width, settings.height, image, WORDS[j], text, "",
            json.dumps({"category_id": j, "boxes": []}),
        )
        for i, image in enumerate(pictures(settings.images, settings.width, settings.height))
        for j, text in enumerate(texts)
    ]  # fmt: skip
    form, limits = Form.of(load_params(PARAMS).recipes["qwen2-vl-2b"]), {"batch_size": settings.batch}

    def ours(some: list[Example]) -> list[str]:
        made = predict(model, processor, some, get_task("detection"), form, max_new_tokens=settings.tokens, **limits)
        return [row["completion"] for row in made]

    ours(examples[: len(WORDS)])  # warms up
    begin_peak()
    began = now()
    mine = ours(examples)
    seconds, peak = now() - began, peak_gib()
    few = examples[: settings.few]
    began = now()
    theirs = [one_by_one(model, processor, one, settings.tokens) for one in few]
    each = {"ours": seconds / len(examples), "published": (now() - began) / len(few)}
    rows.add(
        part="prediction", model=name, questions=len(examples), seconds_a_question=each,
        ratio=each["published"] / each["ours"], peak_gib=peak,
        equal=sum(a == b for a, b in zip(theirs, mine, strict=False)), compared=len(few),
    )  # fmt: skip


def one_by_one(model: Any, processor: Any, one: Example, tokens: int) -> str:
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": one.question}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    inputs = processor(images=[[one.picture()]], text=[text], return_tensors="pt").to(model.device)
    plain = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    written = model.generate(**inputs, max_new_tokens=tokens, **plain)
    return processor.tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
