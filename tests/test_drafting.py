"""Guesses from earlier answers change how often the model is asked, and not one token of what is said."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from test_grpo_reuse import small_model, train
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, Qwen2VLConfig
from transformers import Qwen2VLForConditionalGeneration as Qwen2VL

from vrft_core import flops
from vrft_core.params import Reuse
from vrft_core.policy.states import new_cache
from vrft_core.training import drafting, shared_prompt
from vrft_core.training.drafting import Drafting, obstacle
from vrft_core.training.drafts import Drafts
from vrft_core.training.grpo import ReusingGRPOTrainer

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS, PROMPT = 6, 10


class Earlier(LogitsProcessor):
    """Depends on all tokens before: makes less likely what was said."""

    def __call__(self, input_ids, scores):
        return scores - torch.zeros_like(scores).scatter_add(1, input_ids, torch.ones(input_ids.shape))


@torch.no_grad()
def sampled(
    model: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    seed: int,
    questions: list[str],
    known: Drafting | None,
    processor: LogitsProcessor | None = None,
    way: Callable | None = shared_prompt.decode,
    **settings: Any,
) -> list[list[int]]:
    """Prompts and answers [N, T], from a cache of the prompts; with guesses from `known`, or by `way` without any.

    `way` None: the library's own.
    """
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    if hasattr(model.model, "get_rope_index"):
        places = places.expand(3, -1, -1)
    cache = new_cache(model.config)
    model(ids[:, :-1], attention_mask=mask[:, :-1], position_ids=places[..., :-1], past_key_values=cache)
    if known is not None:
        way = partial(drafting.decode, drafting=known, questions=questions)
    torch.manual_seed(seed)
    return model.generate(
        ids,
        attention_mask=mask,
        position_ids=places,
        past_key_values=cache,
        **({"custom_generate": way} if way else {}),
        generation_config=GenerationConfig(
            do_sample=True, pad_token_id=0, disable_compile=True, **{"top_k": 0, **settings}
        ),
        logits_processor=LogitsProcessorList([processor] if processor else []),
    ).tolist()


def written(model: Any, seed: int, known: Drafting | None = None, **settings: Any) -> tuple[list, float]:
    """Rows of two questions, and the next random number after them; the first row's prompt is padded."""
    torch.manual_seed(100)
    ids = torch.randint(300, 400, (ROWS, PROMPT))
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    settings = {"max_new_tokens": 14, "eos_token_id": model.generation_config.eos_token_id, **settings}
    questions = [f"{row % 2}" for row in range(ROWS)]
    return sampled(model, ids, mask, seed, questions, known, **settings), torch.rand(1).item()


def answers(rows: list[list[int]]) -> list[list[int]]:
    return [[token for token in row[PROMPT:] if token] for row in rows]


SETTINGS = {
    "as it comes": {},
    "cut and sharpened": {"top_k": 40, "top_p": 0.9, "temperature": 0.8},
    "with a look at what was said": {"processor": Earlier(), "min_new_tokens": 4},
    "with a penalty that knows each row's padding": {"repetition_penalty": 1.3},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("family", ["qwen2-vl", "qwen3-vl", "llava-next"])
def test_tokens_and_random_numbers_are_those_of_a_plain_loop_however_good_the_guesses(family, settings):
    model = small_model(family).eval()
    known = Drafting()
    for seed in range(3):
        expected = written(model, seed, **settings)
        assert len({len(answer) for answer in answers(expected[0])}) > 1
        for row, answer in enumerate(answers(expected[0])[::2]):  # some will be guessed right, all others wrong
            known.drafts.add(f"{row % 2}", answer)

        assert written(model, seed, known, **settings) == expected

    found = known.measured()
    assert found["drafting/fewer"] >= 1
    assert 0.02 < found["drafting/held"] < 0.98, "guesses were kept and taken back"


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_plain_loop_that_drops_rows_says_what_the_librarys_own_loop_says(settings):
    model = small_model("qwen2-vl").eval()
    for seed in range(3):
        expected = answers(written(model, seed, way=None, **settings)[0])
        assert len(set(map(len, expected))) > 1
        assert answers(written(model, seed, **settings)[0]) == expected


def test_with_little_room_for_noise_no_row_runs_ahead_and_tokens_are_the_same(monkeypatch):
    model, known = small_model("qwen2-vl").eval(), Drafting()
    expected = written(model, 5)
    for row, answer in enumerate(answers(expected[0])[:3]):
        known.drafts.add(f"{row % 2}", answer)
    monkeypatch.setattr(drafting, "NOISE_BYTES", 4 * ROWS * model.config.get_text_config().vocab_size * 3)
    assert written(model, 5, known) == expected


def test_nothing_is_guessed_before_anything_was_said_and_a_repeated_answer_costs_a_few_passes():
    model, known = small_model("qwen2-vl").eval(), Drafting()
    first = written(model, 7, known)
    cost = known.measured()
    assert cost == {"drafting/passes": max(map(len, answers(first[0]))), "drafting/fewer": 1}

    assert written(model, 7, known) == first
    assert known.measured()["drafting/fewer"] > 1.5


def test_what_wrong_guesses_took_is_counted_and_costs_flops():
    model, known, run = small_model("qwen2-vl").eval(), Drafting(), 0

    def count(module, args, kwargs):
        nonlocal run
        run += kwargs["input_ids"].numel() if "input_ids" in kwargs else 0  # prompts are given without a name

    for seed in range(3):
        written(model, seed, known)
    known.measured()
    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    found = answers(written(model, 3, known)[0])
    hook.remove()

    assert known.in_vain == run - sum(map(len, found)) > 0
    known.measured()
    assert known.in_vain == 0
    shape, load = flops.Shape.of(model), flops.Load(rows=4, tokens=80, completion_tokens=40, patches=16)
    assert flops.guessed(shape, load, 40) > shape.read(40, 4) + shape.say(40), "they attend to all before them"
    assert flops.guessed(shape, load, 0) == 0


def test_other_ends_than_a_token_or_a_length_are_refused():
    with pytest.raises(ValueError, match="drafting samples up to an end token or a length"):
        written(small_model("qwen2-vl"), 0, Drafting(), max_time=60.0)


DIGIT, WORD, END = 10, 30, 29  # first of ten digits, of the words between numbers


def spelled(draw: np.random.Generator, box: np.ndarray) -> list[int]:
    """An answer about a box as models with a digit tokenizer spell it: words, and numbers digit by digit."""
    digits = [[int(digit) for digit in f"{value:03d}"] for value in (box + draw.integers(-12, 13, 4)).clip(0, 999)]
    tokens = [WORD + i for i in range(12)]
    for number in digits:
        tokens += [DIGIT + digit for digit in number] + [WORD + 12, WORD + 13]
    confidence = [WORD + i for i in range(14, 20)] + [DIGIT + int(draw.integers(5, 10)), DIGIT + int(draw.integers(10))]
    return [*tokens, *confidence, WORD + 20, WORD + 21, END]


@pytest.mark.slow
def test_a_taught_policy_that_spells_numbers_digit_by_digit_is_asked_half_as_often():
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": 64,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
        },
        vision_config={"depth": 1, "num_heads": 2, "embed_dim": 16, "hidden_size": 48, "mlp_ratio": 1},
    )
    torch.manual_seed(0)
    model: Any = Qwen2VL(config)
    draw = np.random.default_rng(0)
    boxes = draw.integers(100, 900, (4, 4))
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for _ in range(150):
        asked = draw.integers(0, 4, 32)
        rows = torch.tensor([[1 + which, 9, *spelled(draw, boxes[which])] for which in asked])
        loss = model(rows, attention_mask=torch.ones_like(rows), labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def ask(which: int, seed: int, known: Drafting | None) -> list[list[int]]:
        ids = torch.tensor([[1 + which, 9]] * 8)
        return sampled(
            model, ids, torch.ones_like(ids), seed, [f"{which}"] * 8, known, max_new_tokens=60, eos_token_id=END
        )

    model.eval()
    known = Drafting()
    for epoch in range(4):
        for which in range(4):
            said = ask(which, 10 * epoch + which, known)
            assert said == ask(which, 10 * epoch + which, None)
        found = known.measured()
    assert len({tuple(row) for row in said}) == 8, "answers differ"
    assert found["drafting/fewer"] >= 1.8, found


@pytest.mark.slow
def test_a_training_is_the_same_with_and_without_and_says_how_often_the_model_was_asked(tmp_path):
    plain, drafted = (train(tmp_path / f"{on}", Reuse(drafting=on), family="qwen2-vl", steps=3) for on in (False, True))

    assert drafted.answers == plain.answers
    assert drafted.numbers("loss") == pytest.approx(plain.numbers("loss"), abs=1e-5)
    assert max((drafted.weights[name] - value).abs().max() for name, value in plain.weights.items()) < 1e-5
    assert len(drafted.numbers("drafting/passes")) == 3
    assert (drafted.trainer.guessed_in_vain > 0, plain.trainer.guessed_in_vain) == (True, 0)
    assert plain.numbers("drafting/passes") == []


def test_models_from_which_a_guess_cannot_be_taken_back_are_refused_by_what_they_keep(tmp_path, capsys):
    assert obstacle(small_model("qwen2-vl").config) is None
    windows = tiny_families.model("gemma3", sliding_window=16).config
    assert obstacle(windows) == (
        "a guess cannot be taken back from a window of the last tokens, which a layer of gemma3 keeps"
    )
    run = train(tmp_path, Reuse(drafting=True), family="qwen3.5", steps=1)

    assert isinstance(run.trainer, ReusingGRPOTrainer)
    assert run.trainer.reuse == Reuse()
    assert (
        "grpo: without drafting, as TRL does it: a guess cannot be taken back from recurrent states, which a layer of"
        " qwen3_5 keeps" in capsys.readouterr().err
    )


def test_drafting_without_a_shared_prompt_is_refused():
    with pytest.raises(ValueError, match="drafting needs shared_prompt"):
        Reuse(drafting=True, shared_prompt=False)


def drawn(drafts: Drafts, question: str, answer: list[int], noise: np.ndarray) -> tuple[int, float]:
    found = drafts.guess(question, answer, noise)
    assert found
    return found


def test_a_guess_is_drawn_with_the_rows_noise_from_what_followed_the_questions_own_answers_first():
    drafts = Drafts()
    for _ in range(9):
        drafts.add("here", [5, 6])
    drafts.add("there", [5, 7])
    assert drafts.tokens == [5, 6, 7]
    assert drawn(drafts, "here", [5], np.ones(3))[0] == 6
    assert drawn(drafts, "here", [5], np.array([1, 1e6, 1e-6]))[0] == 7
    token, chance = drawn(drafts, "nowhere", [], np.ones(3))
    assert (token, chance > 0.9) == (5, True)
    assert Drafts().guess("here", [], np.ones(0)) is None


def test_the_oldest_answers_are_forgotten():
    drafts = Drafts(kept=2)
    for answer in ([1, 2], [1, 3], [1, 3]):
        drafts.add("here", answer)
    assert drawn(drafts, "here", [1], np.array([1, 1e-9, 1]))[0] == 3
