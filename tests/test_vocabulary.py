"""The small policy's vocabulary knows what the drawn data sets say, in few tokens."""

from pathlib import Path

import pytest

from vrft_core.families.form import Form
from vrft_core.params import IconScenes, PhraseScenes
from vrft_core.policy.tokenizer import BLANK, build_tokenizer, pieces_of
from vrft_core.sources.scenes import phrases
from vrft_core.tasks import load_params
from vrft_core.tasks.classification import supervision
from vrft_core.tasks.detection import supervision as detection

FORM = Form.of(load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"])
ICONS = IconScenes(
    image_size=112,
    images={"train": 400, "val": 1, "eval": 1},
    categories={"f": ["cow", "cat"], "c": ["bull", "domestic_ass"], "r": ["water_buffalo", "bactrian_camel"]},
    seed=0,
)
PHRASES = PhraseScenes(
    image_size=112,
    images={"train": 1, "val": 1, "eval": 1},
    categories=["cat", "dog", "bear", "cow", "bird", "octopus_(animal)", "horse", "bat_(animal)", "tiger"],
    expressions=4,
    absent=0.125,
    seed=0,
)
THINKING = "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
CLASSIFICATION = (
    "This is an image containing an animal. Please identify the species of the animal based on the image.\n"
    f"{THINKING}The output answer format should be as follows:\n"
    "<think> ... </think> <answer>species name</answer>\nPlease strictly follow the format."
)
GROUNDING = (
    f"Output the bounding box in the image corresponding to the instruction: {BLANK} Output the thinking process in "
    '<think> </think> and your grouding box. Following "<think> thinking process </think>\n'
    '<answer>(x1,y1),(x2,y2)</answer>)" format.'
)
NAMED = f"<think>{BLANK}</think><answer>{BLANK}</answer>"
BOX = f"<think>{BLANK}</think><answer>({BLANK},{BLANK}),({BLANK},{BLANK})</answer>"
WORDS = list(dict.fromkeys([*supervision.names(ICONS), *phrases.words(PHRASES)]))
PIECES = [*detection.pieces(FORM), *pieces_of([CLASSIFICATION, GROUNDING, NAMED, BOX])]
TOKENIZER = build_tokenizer(["cat", "hog", *WORDS], PIECES, 20)


def tokens(text: str) -> list[str]:
    return [TOKENIZER.decode([i]) for i in TOKENIZER(text)["input_ids"]]


def filled(template: str, *values: str) -> str:
    pieces = template.split(BLANK)
    assert len(pieces) == len(values) + 1
    return "".join(piece + value for piece, value in zip(pieces, [*values, ""], strict=True))


@pytest.mark.slow
def test_every_expression_consists_of_known_words():
    words = set(phrases.words(PHRASES))
    longest = 0
    for index in range(150):
        for said in phrases.scene(PHRASES, "pretraining", index).expressions:
            assert set(tokens(said.text)) <= words
            longest = max(longest, len(tokens(said.text)))
    assert 4 <= longest <= 7


def test_words_take_their_spaces_with_them_and_names_are_the_tokens_of_answers():
    assert tokens("the left cat") == ["the ", "left ", "cat"]
    assert tokens("the octopus right of the bear") == ["the ", "octopus", " right of the ", "bear"]
    assert tokens("the animal that purrs") == ["the ", "animal ", "that ", "purrs"]


@pytest.mark.parametrize("name", supervision.names(ICONS))
def test_a_class_is_one_token_and_its_answer_five(name):
    assert tokens(filled(NAMED, name, name)) == ["<think>", name, "</think><answer>", name, "</answer>"]


def test_the_questions_are_a_handful_of_tokens():
    assert tokens(CLASSIFICATION) == [CLASSIFICATION]
    for said in ("the left cat", "the animal that moos", "the red bear"):
        before, after = GROUNDING.split(BLANK)
        assert tokens(filled(GROUNDING, said)) == [before, *tokens(said), after]


def test_a_grounding_answer_says_its_four_numbers_with_the_tokens_that_boxes_have():
    text = filled(BOX, "cat", "120", "340", "560", "1000")
    assert tokens(text) == [
        "<think>", "cat", "</think><answer>(", "120", ",", "340", "),(", "560", ",", "1000", ")</answer>",
    ]  # fmt: skip


def test_detection_keeps_its_tokens_whatever_is_added():
    plain = build_tokenizer(["cat", "hog"], detection.pieces(FORM), 20).get_vocab()
    assert set(plain) <= set(TOKENIZER.get_vocab())
    text = "<think>2 cat</think><answer>[{'Position': [0, 20, 1000, 40], 'Confidence': 1.00}]</answer>"
    assert tokens(text) == [
        "<think>", "2 ", "cat", "</think><answer>[{'Position': [", "0, ", "20, ", "1000, ", "40",
        "], 'Confidence': ", "1.00", "}]</answer>",
    ]  # fmt: skip
