"""Pre-training: what it is taught, mixed from lessons, and that its fast steps compute what the library computes."""

import os
import random
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vrft_core.families.form import Form
from vrft_core.policy import cores
from vrft_core.policy.language import AnswerLoss
from vrft_core.policy.lessons import Example, Lesson, Pool, examples
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.pretraining import pretrain
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.policy.vision import Features
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.supervision import pieces

FORM = Form.of(load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"])
CATEGORIES = ["cat", "hog", "tiger"]
TOKENIZER = build_tokenizer(CATEGORIES, pieces(FORM), 20)
PROCESSOR = build_processor(TOKENIZER, PATCH_SIZE, 784, 12544)
IMAGES = np.random.default_rng(0).integers(0, 255, (12, 112, 112, 3), dtype=np.uint8)
# questions and answers of very different lengths; some without any number
BATCH = [
    Example(0, "cat", "<think>1 cat</think><answer>[{'Position': [0, 20, 1000, 40], 'Confidence': 1.00}]</answer>"),
    Example(1, "Where is the left hog?", "(20, 40),(60, 80)"),
    Example(2, "tiger", "<answer>No Objects</answer>"),
    Example(0, "hog", "[{'Position': [0, 20, 40, 60], 'Confidence': 0.30}]"),
    Example(5, "What animal is shown in the image?", "cat"),
    Example(7, "hog", "hog"),
    Example(3, "tiger", "tiger"),
]


def small_model(**sizes):
    sizes = {"hidden_size": 64, "heads": 2, "vision_size": 24, "vision_layers": 2, "vision_heads": 2, **sizes}
    return build_model(TOKENIZER, 0, **sizes)


def settings(**updates):
    pretraining = load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"].policy.pretraining
    return pretraining.model_copy(update={"steps": 4, "batch_size": 8, "vision_steps": 2} | updates)


def plain_loss(model, batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The library's own forward, example by example: pixels in, logits of all positions out."""
    losses, coordinates = [], []
    for example in batch:
        turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": example.question}]}]
        prompt = PROCESSOR.apply_chat_template(turns, add_generation_prompt=True)
        text = prompt + example.answer + TOKENIZER.eos_token
        inputs = PROCESSOR(text=[text], images=[[Image.fromarray(IMAGES[example.row])]], return_tensors="pt")
        replied = len(TOKENIZER(example.answer)["input_ids"]) + 1
        labels = inputs["input_ids"][0, -replied:]
        loss = F.cross_entropy(model(**inputs).logits[0, -replied - 1 : -1], labels, reduction="none")
        numbers = [TOKENIZER.decode(label).strip().rstrip(",").isdigit() for label in labels]
        losses.append(loss)
        coordinates.append(loss[torch.tensor(numbers)])
    return torch.cat(losses).mean(), torch.cat(coordinates).mean()


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if "visual" not in name}


@pytest.mark.parametrize("layers", [1, 3])
def test_a_batch_has_the_loss_and_the_gradients_of_the_library_s_own_forward(layers):
    model = small_model(layers=layers)
    with torch.no_grad():  # norms start as ones, which would hide one that is left out
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    mean, coordinates = plain_loss(model, BATCH)
    (mean + coordinates).backward()
    expected = gradients(model)
    model.zero_grad()

    loss = AnswerLoss(model, PROCESSOR, Features(model.model.visual, IMAGES, PROCESSOR.image_processor))
    losses = loss.backward(loss.rows(BATCH))

    assert losses == pytest.approx({"loss": mean.item(), "coordinate_loss": coordinates.item()}, rel=1e-5)
    for name, value in gradients(model).items():
        assert (value - expected[name]).norm() <= 1e-5 * expected[name].norm(), name


def test_a_batch_without_any_number_has_a_loss_and_finite_gradients():
    model = small_model(layers=1)
    features = Features(model.model.visual, IMAGES, PROCESSOR.image_processor)

    loss = AnswerLoss(model, PROCESSOR, features)
    losses = loss.backward(loss.rows([BATCH[2], BATCH[4]]))

    assert losses["loss"] > 0 and losses["coordinate_loss"] == 0
    assert all(torch.isfinite(value).all() for value in gradients(model).values())


def lesson(name: str, rows, **options) -> Lesson:
    return Lesson(lambda rng, row: (name, f"{name} {rng.randrange(1000)}"), rows, **options)


def test_lessons_are_mixed_by_their_shares_and_ask_about_their_own_images():
    lessons = [lesson("cat", range(0, 6), share=3.0), lesson("hog", [2, 9], share=1.0)]

    drawn = list(islice(examples(lessons, settings()), 4000))

    counts = Counter(example.question for example in drawn)
    assert counts["hog"] / len(drawn) == pytest.approx(0.25, abs=0.03)
    assert {example.row for example in drawn if example.question == "cat"} == set(range(6))
    assert {example.row for example in drawn if example.question == "hog"} == {2, 9}


def test_a_lesson_with_nothing_to_ask_about_an_image_takes_another_and_keeps_its_share():
    odd = Lesson(lambda rng, row: ("odd", "cat") if row % 2 else None, range(8))

    drawn = list(islice(examples([odd, lesson("any", range(8))], settings()), 2000))

    asked = [example for example in drawn if example.question == "odd"]
    assert len(asked) / len(drawn) == pytest.approx(0.5, abs=0.04)
    assert {example.row for example in asked} == {1, 3, 5, 7}


def test_the_first_quarter_asks_about_easy_images_more_often():
    lessons = [lesson("cat", range(100), easy=[5])]
    told = settings(steps=100, batch_size=40)

    drawn = [example.row for example in islice(examples(lessons, told), 4000)]

    assert np.mean([row == 5 for row in drawn[:1000]]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([row == 5 for row in drawn[1000:]]) == pytest.approx(0.01, abs=0.01)


def test_one_lesson_draws_the_same_numbers_as_no_mixture_at_all():
    """Random numbers are those of the first releases: one for the image, then the lesson's own."""
    rng, expected = random.Random(settings().seed), []
    for _ in range(20):
        row = rng.randrange(12)
        expected.append(Example(row, "cat", f"cat {rng.randrange(1000)}"))

    assert list(islice(examples([lesson("cat", range(12))], settings()), 20)) == expected


def test_a_mixture_teaches_the_same_weights_twice(tmp_path):
    pool = Pool(IMAGES, [[("cat", (0.0, 0.0, 60.0, 60.0))]] * len(IMAGES), [None] * len(IMAGES))
    recipe = load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"]
    taught = recipe.policy.model_copy(update={"pretraining": settings()})
    lessons = [lesson("cat", range(12), easy=[1, 2], share=2.0), lesson("hog", range(6))]

    def weights(name: str) -> dict[str, torch.Tensor]:
        model = small_model(layers=2)
        pretrain(model, PROCESSOR, taught, pool, CATEGORIES, lessons, tmp_path / name)
        return model.state_dict()

    first, second = weights("first"), weights("second")
    assert all(torch.equal(second[name], value) for name, value in first.items())


def test_a_second_core_changes_no_bit_of_the_weights(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (64, *IMAGES.shape[1:]), np.uint8)
    pool = Pool(images, [[("cat", (0.0, 0.0, 60.0, 60.0))]] * len(images), [None] * len(images))
    recipe = load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"]
    taught = recipe.policy.model_copy(update={"pretraining": settings(batch_size=32)})
    lessons = [lesson("cat", range(64)), lesson("hog", range(64))]

    def weights(count: int) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(cores, "cores", lambda: count)
        model = small_model(layers=2)
        pretrain(model, PROCESSOR, taught, pool, CATEGORIES, lessons, tmp_path / str(count))
        return model.state_dict()

    one, two = weights(1), weights(2)
    assert all(torch.equal(two[name], value) for name, value in one.items())


@pytest.mark.slow
def test_threads_that_wait_do_not_spin_in_any_command():
    """libgomp reads its settings when torch is loaded: the command line must have set them before."""
    program = (
        "import sys; from vrft_core.cli import experiments, main;"
        "experiments.experiments.command('torch')(lambda project: __import__('torch') and None);"
        "sys.exit(main(['torch']))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch does not use libgomp here")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr and "GOMP_SPINCOUNT = '0'" in done.stderr
