"""A small Qwen3.5, whose layers keep a recurrent state: it is asked, probed and scored like any other policy."""

from typing import Any

import pytest
import torch
from PIL import Image
from transformers import GenerationConfig, Qwen3_5Config, Qwen3_5ForConditionalGeneration

from vrft_core import policy as policies
from vrft_core.evaluation.decoding import complete
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import IMAGE, VIDEO, VISION_END, VISION_START, build_tokenizer

TOKENIZER = build_tokenizer(["cat", "hog"], ["Where is the ", "Count every "], 20)
PROCESSOR: Any = build_processor(TOKENIZER, 14, 784, 12_544)
QUESTIONS = [["Where is the cat", "Count every hog, and then every cat"], ["Count every cat"]]
PICTURES = [Image.effect_noise(size, 90).convert("RGB") for size in ((84, 56), (56, 112))]


def prompt(question: str) -> str:
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    return PROCESSOR.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)


@pytest.fixture(scope="module")
def model() -> Qwen3_5ForConditionalGeneration:
    ids: dict[str, Any] = {name: TOKENIZER.convert_tokens_to_ids(word) for name, word in (
        ("image_token_id", IMAGE), ("video_token_id", VIDEO), ("vision_start_token_id", VISION_START),
        ("vision_end_token_id", VISION_END))}  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "mrope_interleaved": True,
            "partial_rotary_factor": 1.0}  # fmt: skip
    text = {"vocab_size": -(-len(TOKENIZER) // 16) * 16, "hidden_size": 32, "intermediate_size": 48, "head_dim": 8,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "linear_key_head_dim": 8,
            "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
            "rope_parameters": rope}  # fmt: skip
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, "num_heads": 2,
              "patch_size": 14, "num_position_embeddings": 64}  # fmt: skip
    torch.manual_seed(0)
    made = Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text, vision_config=vision, **ids))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)  # else every distribution is nearly flat
    made.generation_config = GenerationConfig(
        eos_token_id=TOKENIZER.eos_token_id, pad_token_id=TOKENIZER.pad_token_id, do_sample=False
    )
    return made.eval()


def test_answers_are_those_of_the_librarys_own_loop(model):
    found = complete(model, PROCESSOR, PICTURES, QUESTIONS, batch_size=2, max_new_tokens=12)
    for picture, questions, answers in zip(PICTURES, QUESTIONS, found, strict=True):
        for question, answer in zip(questions, answers, strict=True):
            inputs = PROCESSOR(images=[[picture]], text=[prompt(question)], return_tensors="pt")
            theirs = model.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :].tolist()
            assert answer.tokens == [token for token in theirs if token != TOKENIZER.eos_token_id]
            assert len(answer.logprobs) == len(answer.entropies) == len(answer.tokens)
            logits = model(**{**inputs, "input_ids": inputs["input_ids"]}).logits[0, -1]
            assert answer.logprobs[0] == pytest.approx(logits.log_softmax(-1)[answer.tokens[0]].item(), abs=1e-4)


@pytest.mark.parametrize("sampled", [False, True])
def test_questions_of_all_lengths_that_share_a_picture_are_answered_as_each_alone(model, sampled):
    questions = [["Where is the cat", "Count every hog, and then every cat", "Count every cat", "Count every hog"],
                 ["Where is the hog", "hog"]]  # fmt: skip
    generator = torch.Generator().manual_seed(4) if sampled else None
    options: dict[str, Any] = {"max_new_tokens": 12, "watched": [7, 9]}

    together = complete(model, PROCESSOR, PICTURES, questions, batch_size=8, generator=generator, **options)
    for picture, texts, answers in zip(PICTURES, questions, together, strict=True):
        for question, answer in zip(texts, answers, strict=True):
            inputs = PROCESSOR(images=[[picture]], text=[prompt(question)], return_tensors="pt")
            ids = torch.cat([inputs["input_ids"], torch.tensor([answer.tokens], dtype=torch.long)], 1)
            inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer.tokens)))
            inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            with torch.no_grad():
                rows = model(**inputs).logits[0].log_softmax(-1)[-len(answer.tokens) - 1 : -1]
            if not sampled:
                assert answer.tokens == rows.argmax(-1).tolist()
            expected = rows.gather(1, torch.tensor(answer.tokens)[:, None])[:, 0]
            assert answer.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
            assert answer.watched == pytest.approx(rows[:, [7, 9]].exp().sum(1).tolist(), abs=1e-5)


def test_it_is_saved_and_loaded_by_name_and_known_as_its_family(model, tmp_path):
    from vrft_core.probing import models

    (tmp_path / "policy").mkdir()
    policies.save(tmp_path / "policy", model, PROCESSOR)
    probed = models.load(tmp_path / "policy")
    assert probed.family and probed.family.name == "qwen3.5"
    [[one, two], [three]] = probed.answer(PICTURES, QUESTIONS)
    assert all(isinstance(text, str) for text in (one, two, three))


def test_a_templates_own_switch_for_thinking_is_off(model):
    processor = build_processor(TOKENIZER, 14, 784, 12_544)
    processor.chat_template = "{% if enable_thinking is false %}off{% else %}on{% endif %}"
    turns = [{"role": "user", "content": "cat"}]
    assert processor.apply_chat_template(turns, tokenize=False) == "off"
    assert processor.apply_chat_template(turns, tokenize=False, enable_thinking=True) == "on"
    assert "user" in PROCESSOR.apply_chat_template(turns, tokenize=False)
