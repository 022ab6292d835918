"""Questions, answers and coordinates: what the model reads and writes, and what that means in pixels."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrft_core.families.frames import Frame, frame
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.answers import parse
from vrft_core.tasks.detection.prompts.questions import answer, question, thought

FAMILIES = ("qwen2-vl", "qwen2.5-vl", "qwen3-vl")


def policy(family: str, step: int = 1):
    """The mini recipe's policy with another family, and the paper's limits on pixels."""
    mini = load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"].policy
    update = {"family": family, "coordinate_step": step, "min_pixels": 3_136, "max_pixels": 401_408}
    return mini.model_copy(update=update)


def test_the_question_is_the_published_one_to_the_letter():
    assert question("stop sign", thinking=True, family="qwen2-vl").split("\n") == [
        "Detect all objects belonging to the category 'stop sign' in the image, and provide the bounding boxes "
        "(between 0 and 1000, integer) and confidence (between 0 and 1, with two decimal places).",
        "If no object belonging to the category 'stop sign' in the image, return 'No Objects'.",
        "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
        "The output answer format should be as follows:",
        "<think> ... </think> <answer>[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]</answer>",
        "Please strictly follow the format.",
    ]


def test_without_thinking_nothing_asks_for_a_thought():
    assert "think" not in question("cat", thinking=False, family="qwen2-vl")


def test_a_family_that_counts_pixels_is_asked_for_pixels():
    assert "in pixels" in question("cat", thinking=True, family="qwen2.5-vl")


@pytest.mark.parametrize("thinking", [thought("cat", 2), None])
def test_what_we_write_is_what_the_parser_reads_without_complaint(thinking):
    text = answer([[20, 40, 600, 980], [0, 0, 1000, 1000]], [1.0, 0.25], thinking)
    parsed = parse(text)
    assert [d.box for d in parsed.detections] == [(20, 40, 600, 980), (0, 0, 1000, 1000)]
    assert [d.confidence for d in parsed.detections] == [1.0, 0.25]
    assert parsed.reasons == ()


def test_no_boxes_are_written_as_no_objects():
    assert parse(answer([], [], None)).says_none


SIDES = st.integers(60, 2000)
SHARES = st.lists(st.floats(0, 1), min_size=4, max_size=4)


@pytest.mark.parametrize("family", FAMILIES)
@given(width=SIDES, height=SIDES, corners=SHARES)
@pytest.mark.slow
def test_a_box_comes_back_from_its_answer_within_half_a_step_or_as_narrow_as_answers_go(family, width, height, corners):
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    coordinates = frame(policy(family), width, height)
    box = [x1 * width, y1 * height, x2 * width, y2 * height]
    scaled = coordinates.scale(box)
    back = coordinates.scale(coordinates.to_pixels(coordinates.to_answer(box)))
    for low, high in ((0, 2), (1, 3)):
        tolerance = 0.5 if scaled[high] - scaled[low] >= 1 else 1.5
        assert abs(back[low] - scaled[low]) <= tolerance + 1e-6
        assert abs(back[high] - scaled[high]) <= tolerance + 1e-6


@given(corners=st.lists(st.floats(0, 112), min_size=4, max_size=4))
def test_an_answer_on_a_grid_lies_on_it_inside_the_image_and_is_never_empty(corners):
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    a, b, c, d = Frame(112, 112, (1000, 1000), 20).to_answer([x1, y1, x2, y2])
    assert 0 <= a < c <= 1000 and 0 <= b < d <= 1000
    assert all(value % 20 == 0 for value in (a, b, c, d))


def test_qwen2_5_counts_pixels_of_the_image_as_its_processor_resizes_it():
    assert frame(policy("qwen2.5-vl"), 640, 480).limit == (644, 476)
    large = frame(policy("qwen2.5-vl"), 4000, 3000).limit
    assert large[0] * large[1] <= 401_408 and not large[0] % 28 and not large[1] % 28
