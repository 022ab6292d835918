"""The small policy: its vocabulary, its eyes, what it is shown, and that it loads as it was saved."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vrft_core import policy
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.policy import unfinished
from vrft_core.policy.lessons import Pool, dense_targets
from vrft_core.policy.model import MERGED, PATCH_SIZE, build_model
from vrft_core.policy.optimizer import Optimizer
from vrft_core.policy.pretraining import pretrain
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.policy.vision import encode, patches
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.prompts.questions import answer, question, thought
from vrft_core.tasks.detection.supervision import WebAnswers, draw_pool, lesson, pieces

FORM = Form.of(load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"])
CATEGORIES = ["cat", "hog", "tiger", "octopus_(animal)"]
FAMILY = "qwen3-vl"
TOKENIZER = build_tokenizer(CATEGORIES, pieces(FORM), 20)
SMALL = {"hidden_size": 32, "layers": 1, "heads": 2, "vision_size": 24, "vision_layers": 2, "vision_heads": 2}


@pytest.fixture(scope="module")
def processor():
    return build_processor(TOKENIZER, PATCH_SIZE, 784, 12544)


PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")
SCENES = PARAMS.benchmarks["lvis"].embedded.model_copy(
    update={"categories": {"f": ["cat"], "c": ["hog"], "r": ["tiger"]}}
)


@pytest.fixture(scope="module")
def recipe():
    recipe = PARAMS.recipes["mini"]
    short = {"images": 6, "vision_steps": 3, "steps": 3, "batch_size": 4}
    pretraining = recipe.policy.pretraining.model_copy(update=short)
    return recipe.model_copy(update={"policy": recipe.policy.model_copy(update={"pretraining": pretraining})})


def tokens(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER(text)["input_ids"]]


def inputs(processor, category: str, *images: Image.Image) -> dict:
    turns = [{"type": "image"}, {"type": "text", "text": question(category, thinking=True, family=FAMILY)}]
    chat = processor.apply_chat_template([{"role": "user", "content": turns}], add_generation_prompt=True)
    return processor(text=[chat] * len(images), images=[[image] for image in images], return_tensors="pt")


def test_a_box_on_the_grid_is_seven_tokens_and_an_answer_is_a_sentence_of_them():
    text = answer([[0, 20, 1000, 40], [60, 80, 100, 120]], [1.0, 0.35], thought("cat", 2))
    assert tokens(text) == [
        "<think>", "2 ", "cat", "</think><answer>[{'Position': [",
        "0, ", "20, ", "1000, ", "40", "], 'Confidence': ", "1.00", "}, {'Position': [",
        "60, ", "80, ", "100, ", "120", "], 'Confidence': ", "0.35", "}]</answer>",
    ]  # fmt: skip


def test_the_question_about_an_image_takes_about_thirty_tokens(processor):
    assert inputs(processor, "cat", Image.new("RGB", (112, 112)))["input_ids"].shape[1] <= 32


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("category", ["wine glass", "octopus_(animal)", "Käse", "猫"])
def test_any_category_can_be_asked_for(category, thinking):
    text = question(category, thinking=thinking, family=FAMILY)
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_every_text_round_trips(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"], skip_special_tokens=False) == text


def test_every_integer_up_to_a_thousand_can_be_said():
    for value in range(1001):
        assert TOKENIZER.decode(TOKENIZER(f"[{value}, {value}]")["input_ids"]) == f"[{value}, {value}]"


@pytest.mark.parametrize("size", [(448, 300), (300, 448), (640, 100), (112, 112), (20, 20)])
def test_a_photo_of_any_shape_is_shrunk_to_what_the_tower_can_see(processor, size):
    batch = inputs(processor, "cat", Image.new("RGB", size))
    assert batch["image_grid_thw"].prod() <= 64
    logits = build_model(TOKENIZER, 0, **SMALL).eval()(**batch).logits
    assert torch.isfinite(logits).all()


def test_saved_and_loaded_it_gives_identical_log_probabilities(processor, tmp_path):
    model = build_model(TOKENIZER, 3, **SMALL).eval()
    policy.save(tmp_path, model, processor)
    loaded, loaded_processor = policy.load(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 130, 3), dtype=np.uint8))

    before = model(**inputs(processor, "hog", image)).logits.log_softmax(-1)
    after = loaded(**inputs(loaded_processor, "hog", image)).logits.log_softmax(-1)

    assert torch.equal(before, after)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jinja", *[".json"] * 5, ".safetensors"]


def test_sampling_settings_are_written_down_and_not_left_to_defaults(processor, tmp_path):
    policy.save(tmp_path, build_model(TOKENIZER, 0, **SMALL), processor)
    saved = json.loads((tmp_path / "generation_config.json").read_text())
    assert {name: saved[name] for name in ("do_sample", "temperature", "top_k", "top_p")} == {
        "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
    }  # fmt: skip


def test_weights_that_are_not_safetensors_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="no policy here"):
        policy.load(tmp_path)


def test_the_batched_tower_computes_what_the_library_computes(processor):
    images = np.random.default_rng(1).integers(0, 255, (3, 84, 112, 3), dtype=np.uint8)
    visual = build_model(TOKENIZER, 1, **SMALL).model.visual
    prepared = processor.image_processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")

    expected = visual(prepared["pixel_values"], grid_thw=prepared["image_grid_thw"])
    merged, deepstack = encode(visual, images, processor.image_processor)

    flat = patches(images, processor.image_processor).flatten(0, 1)
    frames = prepared["pixel_values"].view(-1, 3, 2, PATCH_SIZE**2)
    for frame in frames.unbind(2):
        torch.testing.assert_close(flat, frame.flatten(1), atol=2e-6, rtol=0)
    torch.testing.assert_close(merged.flatten(0, 1), expected.pooler_output, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(deepstack[0].flatten(0, 1), expected.deepstack_features[0], atol=2e-6, rtol=1e-5)


def test_web_answers_leave_further_instances_out_and_tags_off_as_often_as_told(recipe):
    answers = WebAnswers(SCENES, Form.of(recipe), recipe.policy.pretraining)
    cats = [("cat", (0.0, 0.0, 30.0, 30.0)), ("cat", (60.0, 60.0, 100.0, 100.0))]
    rng = random.Random(0)

    texts = [answers.draw(rng, cats)[1] for _ in range(1000)]

    told = recipe.policy.pretraining
    assert np.mean([text.count("Position") == 2 for text in texts]) == pytest.approx(
        told.keep_further_instances, abs=0.05
    )
    assert np.mean([text.startswith("[") for text in texts]) == pytest.approx(told.bare_answers, abs=0.05)


def test_a_square_is_labelled_with_the_object_that_covers_most_of_it():
    objects = [("cat", (0.0, 0.0, 56.0, 28.0)), ("tiger", (20.0, 0.0, 56.0, 28.0))]
    pool = Pool(np.zeros((1, 112, 112, 3), np.uint8), [objects], [None])

    labels, boxes = dense_targets(pool, ["cat", "tiger"], MERGED)

    background = 2
    assert labels.reshape(4, 4)[0].tolist() == [0, 0, background, background]
    assert (labels.reshape(4, 4)[1:] == background).all()
    assert boxes[0, 0].tolist() == pytest.approx([0, 0, 0.5, 0.25])


def test_the_mirrored_half_of_the_pool_has_its_boxes_mirrored(recipe):
    pool = draw_pool(SCENES, recipe.policy.pretraining.model_copy(update={"images": 2}))
    assert (pool.images[2] == pool.images[0][:, ::-1]).all()
    (name, (x1, y1, x2, y2)), (mirrored_name, mirrored) = pool.objects[0][0], pool.objects[2][0]
    assert (mirrored_name, mirrored) == (name, (112 - x2, y1, 112 - x1, y2))


def test_pretraining_interrupted_wherever_it_was_ends_in_the_same_weights(recipe, processor, tmp_path, monkeypatch):
    pool = draw_pool(SCENES, recipe.policy.pretraining)
    lessons = [lesson(pool, 0, SCENES, Form.of(recipe), recipe.policy.pretraining, share=1.0)]
    names = ["cat", "hog", "tiger"]

    def weights(kept: Path) -> dict:
        model = build_model(TOKENIZER, 0, **SMALL)
        pretrain(model, processor, recipe.policy, pool, names, lessons, kept)
        return model.state_dict()

    uninterrupted = weights(tmp_path / "whole")
    again = weights(tmp_path / "again")
    continued = weights(tmp_path / "whole")  # phase A is done

    taken = []

    def interrupted(self: Optimizer) -> None:
        taken.append(step(self))
        if len(taken) in (2, 6):  # the second step of each phase
            raise KeyboardInterrupt

    step = Optimizer.step
    monkeypatch.setattr(unfinished, "EVERY", 0)
    monkeypatch.setattr(Optimizer, "step", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            weights(tmp_path / "interrupted")
    resumed = weights(tmp_path / "interrupted")
    steps = recipe.policy.pretraining.vision_steps + recipe.policy.pretraining.steps
    assert len(taken) == steps + 2, "each interruption costs the step that was not noted"

    untrained = build_model(TOKENIZER, 0, **SMALL).state_dict()
    assert any(not torch.equal(untrained[name], value) for name, value in uninterrupted.items())
    assert all(torch.equal(again[name], value) for name, value in uninterrupted.items())
    for other in (continued, resumed):
        assert all(torch.equal(other[name], value) for name, value in uninterrupted.items())
