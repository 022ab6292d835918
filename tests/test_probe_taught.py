"""Two small policies that were really taught two conventions; the probe finds out which, from their folders alone.

They learn the probe's own scenes by heart: what is shown is that asking, answering, reading and choosing go together,
not that a model of this size can see.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_project import ROOT

from vrft_core import policy as policies
from vrft_core.cell import Layout
from vrft_core.commands.probe import line, probe
from vrft_core.families.formats import FORMS, Native
from vrft_core.families.frames import named
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.probing.asking import neutral
from vrft_core.probing.conventions import PAPER, Candidate
from vrft_core.probing.scenes import NAMES, draw
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.prompts.questions import answer as papers

PIXELS = (784, 12_544)
STEPS = 150
TAUGHT = (Candidate("0-1000", "xyxy", PAPER), Candidate("original", "yxyx", "bbox_2d"))


def teach(directory: Path, convention: Candidate) -> None:
    """A policy that answers the question for one form in one convention; any other question it was never asked."""
    blank = "§"
    pieces = [piece for form in (PAPER, *FORMS) for piece in neutral(blank, form).split(blank)]
    pieces += ["<answer>[{'Position': [", "], 'Confidence': ", "}]</answer>", '[{"bbox_2d": [', '], "label": "', '"}]']
    tokenizer: Any = build_tokenizer(NAMES, pieces, 1)
    processor: Any = build_processor(tokenizer, PATCH_SIZE, *PIXELS)
    processor.tokenizer.padding_side = "left"
    model = build_model(
        tokenizer, 0, hidden_size=64, layers=2, heads=2, vision_size=48, vision_layers=2, vision_heads=3
    )  # fmt: skip
    scenes = draw(12, PIXELS[1])
    prompts, replies = [], []
    for scene in scenes:
        turn = [{"type": "image"}, {"type": "text", "text": neutral(scene.name, convention.form)}]
        chat = [{"role": "user", "content": turn}]
        prompts.append(processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        box = named(convention.frame, *scene.picture.size).to_answer(scene.box)
        native = Native("bbox_2d", convention.order).write([box], scene.name)
        replies.append((papers([box], [0.5], None) if convention.form == PAPER else native) + tokenizer.eos_token)
    texts = [prompt + reply for prompt, reply in zip(prompts, replies, strict=True)]
    inputs = processor(images=[[one.picture] for one in scenes], text=texts, padding=True, return_tensors="pt")
    labels = inputs["input_ids"].clone()
    for row, reply in zip(labels, replies, strict=True):
        row[: -len(tokenizer(reply)["input_ids"])] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(STEPS):
        logits = model(**inputs).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.005:
            break
    directory.mkdir(parents=True)
    policies.save(directory, model, processor)


@pytest.mark.slow
@pytest.mark.parametrize("convention", TAUGHT, ids=str)
def test_what_a_policy_was_taught_is_found_out_from_its_folder(convention, tmp_path):
    torch.set_num_threads(1)
    teach(tmp_path / "policy", convention)
    found = probe(Layout(ROOT), load_params(ROOT / "params.yaml"), str(tmp_path / "policy"))
    assert found.chosen.candidate == convention and found.chosen.mean > 0.6
    assert found.family and found.family.name == "qwen3-vl"
    assert f"frame: {convention.frame}, order: {convention.order}" in line(found)
