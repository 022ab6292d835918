"""Asking in batches: the same answers as one question at a time, images read once, nothing asked twice."""

import copy
import functools
import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from small_policy import detection_tokenizer, small_recipe
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from vrft_core.evaluation import decoding
from vrft_core.evaluation.decoding import complete
from vrft_core.evaluation.predict import plan, predict
from vrft_core.families.form import Form
from vrft_core.policy import states
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import IMAGE, VIDEO, VISION_END, VISION_START
from vrft_core.tasks import get_task
from vrft_core.tasks.detection.prompts.questions import question
from vrft_core.tasks.task import Example

pytestmark = pytest.mark.usefixtures("one_thread")
FAMILIES = ("qwen2-vl", "qwen2.5-vl", "qwen3-vl")
TOKENIZER = detection_tokenizer(["cat", "hog"])
PROCESSOR = build_processor(TOKENIZER, PATCH_SIZE, 784, 12544)
LIMITS = {"batch_size": 64, "max_new_tokens": 20}
ASKED = {0: ["cat", "zebra crossing"], 1: ["hog"], 2: ["cat", "hog", "猫"]}
SIZES = {0: (112, 112), 1: (140, 84), 2: (56, 112)}


@functools.cache
def model(family: str):
    """A small model with random weights, wild enough to say something different to each question."""
    ids = {
        f"{name}_token_id": TOKENIZER.convert_tokens_to_ids(token)
        for name, token in {
            "image": IMAGE, "video": VIDEO, "vision_start": VISION_START, "vision_end": VISION_END,
        }.items()
    }  # fmt: skip
    text = {
        "vocab_size": 1024, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    eyes = {"depth": 2, "num_heads": 2, "patch_size": PATCH_SIZE}
    torch.manual_seed(0)
    if family == "qwen3-vl":
        size = {"hidden_size": 32, "layers": 2, "heads": 2, "vision_size": 24, "vision_layers": 2, "vision_heads": 2}
        made = build_model(TOKENIZER, 0, **size)
    elif family == "qwen2-vl":
        eyes |= {"embed_dim": 32, "hidden_size": 32}
        made = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=eyes, **ids))
    else:
        eyes |= {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, "fullatt_block_indexes": [1]}
        made = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=eyes, **ids))
    made.generation_config = GenerationConfig(eos_token_id=TOKENIZER.eos_token_id, pad_token_id=TOKENIZER.pad_token_id)
    with torch.no_grad():
        for weights in made.parameters():
            if weights.ndim > 1:
                weights.mul_(6)
    return made.eval()


def image_of(image: int) -> Image.Image:
    width, height = SIZES[image]
    return Image.fromarray(np.random.default_rng(image).integers(0, 255, (height, width, 3), dtype=np.uint8))


def ask(category: str) -> str:
    return question(category, thinking=True, family="qwen3-vl")


def examples() -> list[Example]:
    return [
        Example(
            f"{image}-{number}", image, *SIZES[image], image_of(image), category, ask(category), "",
            json.dumps({"category_id": number, "boxes": []}),
        )
        for number, category in enumerate(["cat", "hog", "zebra crossing", "猫"])
        for image, asked in ASKED.items()
        if category in asked
    ]  # fmt: skip


def answers(model, **settings) -> list[dict]:
    """The rows of all examples."""
    return predict(model, PROCESSOR, examples(), get_task("detection"), Form.of(small_recipe()), **settings)


def one_at_a_time(model, image: int, category: str) -> tuple[list[int], list[float]]:
    """The library's own greedy answer to one question: tokens and log-probabilities."""
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ask(category)}]}
    text = PROCESSOR.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    inputs = PROCESSOR(images=[[image_of(image)]], text=[text], return_tensors="pt")
    output = model.generate(
        **inputs, max_new_tokens=LIMITS["max_new_tokens"], do_sample=False, output_logits=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    tokens = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    logprobs = [step[0].log_softmax(-1)[token].item() for step, token in zip(output.logits, tokens, strict=True)]
    end = tokens.index(TOKENIZER.eos_token_id) if TOKENIZER.eos_token_id in tokens else len(tokens)
    return tokens[:end], logprobs[:end]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_as_the_library_does_one_question_at_a_time(family):
    images, questions = [image_of(i) for i in ASKED], [[ask(c) for c in asked] for asked in ASKED.values()]

    found = complete(model(family), PROCESSOR, images, questions, **LIMITS)

    for (image, asked), answers in zip(ASKED.items(), found, strict=True):
        for category, answer in zip(asked, answers, strict=True):
            tokens, logprobs = one_at_a_time(model(family), image, category)
            assert answer.tokens == tokens
            assert answer.logprobs == pytest.approx(logprobs, abs=1e-4)
            assert len(answer.entropies) == len(tokens) and min(answer.entropies) >= 0
    everything = [tuple(answer.tokens) for answers in found for answer in answers]
    assert len(set(everything)) == len(everything), "the model must not say the same to everything"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_of_a_batch_changes_no_row(family):
    rows = [answers(model(family), batch_size=n, max_new_tokens=20) for n in (1, 2, 64)]
    assert rows[0] == rows[1] == rows[2]
    assert [(row["image_id"], row["category_id"]) for row in rows[0]] == [
        (one.image_id, json.loads(one.truth)["category_id"]) for one in examples()
    ]


def test_reading_in_small_parts_little_room_and_letting_go_at_once_change_no_row(monkeypatch):
    settings = {"batch_size": 64, "max_new_tokens": 12}
    whole = answers(model("qwen2-vl"), **settings)
    for name, value in {"CHUNK": {"cpu": 1}, "ROOM": 0, "CROWD": 1.0}.items():
        monkeypatch.setattr(decoding, name, value)
    monkeypatch.setattr(states, "ROOM", 0)
    assert answers(model("qwen2-vl"), **settings) == whole


def test_a_model_in_training_answers_as_it_does_once_its_adapter_is_merged():
    targets = r".*language_model.*\.(q_proj|v_proj)"
    adapted = get_peft_model(copy.deepcopy(model("qwen3-vl")), LoraConfig(r=4, target_modules=targets)).train()
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.normal_(0, 0.5)
    settings = {"batch_size": 4, "max_new_tokens": 12}
    during = answers(adapted, **settings)
    assert adapted.training
    assert during == answers(adapted.merge_and_unload(), **settings)
    assert during != answers(model("qwen3-vl"), **settings)


def test_answers_that_end_early_leave_the_others_as_they_are():
    chatty = model("qwen3-vl")
    first = complete(chatty, PROCESSOR, [image_of(0)], [[ask("cat"), ask("hog")]], **LIMITS)[0]
    other = next(token for token in first[1].tokens if token not in first[0].tokens)
    stopped = GenerationConfig(eos_token_id=[TOKENIZER.eos_token_id, other], pad_token_id=TOKENIZER.pad_token_id)
    before, chatty.generation_config = chatty.generation_config, stopped
    try:
        again = complete(chatty, PROCESSOR, [image_of(0)], [[ask("cat"), ask("hog")]], **LIMITS)[0]
    finally:
        chatty.generation_config = before
    assert again[0].tokens == first[0].tokens
    assert again[1].tokens == first[1].tokens[: first[1].tokens.index(other)]


def test_samples_follow_from_their_seed():
    def sample(seed: int) -> list:
        drawn = torch.Generator().manual_seed(seed)
        return complete(model("qwen3-vl"), PROCESSOR, [image_of(0)], [[ask("cat")] * 4], generator=drawn, **LIMITS)

    assert sample(0) == sample(0) != sample(1)


def test_each_image_goes_through_the_vision_tower_once():
    tower, seen = model("qwen2-vl").model.visual, []
    handle = tower.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["grid_thw"])), with_kwargs=True
    )
    answers(model("qwen2-vl"), batch_size=2, max_new_tokens=2)
    handle.remove()
    assert sum(seen) == len(ASKED) < len(examples())


def test_images_of_like_size_share_a_batch_and_none_is_divided():
    batches = plan(examples(), batch_size=3)
    images = [[{examples()[index].image_id for index in image} for image in batch] for batch in batches]
    assert images == [[{2}], [{1}, {0}]]
    assert sorted(index for batch in batches for image in batch for index in image) == list(range(len(examples())))


def test_a_killed_prediction_goes_on_with_what_it_has_and_ends_with_the_same_rows(tmp_path, monkeypatch):
    asked, kept = [], tmp_path / "answers.jsonl"

    def until_killed(*args, **kwargs):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(args[2]))
        return complete(*args, **kwargs)

    settings = {"batch_size": 2, "max_new_tokens": 8}
    whole = answers(model("qwen3-vl"), **settings)
    monkeypatch.setattr("vrft_core.evaluation.predict.complete", until_killed)
    with pytest.raises(KeyboardInterrupt):
        answers(model("qwen3-vl"), kept=kept, **settings)
    with open(kept, "a") as file:
        file.write('[[0, {"image_id": 0, "comp')  # killed while writing
    asked.clear()

    rows = answers(model("qwen3-vl"), kept=kept, **settings)

    assert rows == whole
    assert asked == [1]
    asked.clear()
    assert answers(model("qwen3-vl"), kept=kept, **settings) == whole
    assert asked == []


def test_more_questions_about_one_image_than_fit_in_a_batch_are_all_answered_from_the_same_reading():
    texts = [ask(category) for category in ("cat", "hog", "zebra crossing", "猫", "tiger")]
    limits = {"batch_size": 2, "max_new_tokens": 12}
    together = complete(model("qwen3-vl"), PROCESSOR, [image_of(0)], [texts], **limits)[0]
    alone = [complete(model("qwen3-vl"), PROCESSOR, [image_of(0)], [[text]], **limits)[0][0] for text in texts]
    assert [answer.tokens for answer in together] == [answer.tokens for answer in alone]


def test_agreement_with_sampled_answers_is_scored_when_asked_for_and_changes_nothing_else():
    settings = {"batch_size": 4, "max_new_tokens": 8}
    plain = answers(model("qwen3-vl"), **settings)
    scored = answers(model("qwen3-vl"), samples=2, **settings)
    assert scored == answers(model("qwen3-vl"), samples=2, **settings)
    for before, after in zip(plain, scored, strict=True):
        assert after["rankings"].pop("consistency") == [0.0] * len(before["boxes"])
        assert before == after
