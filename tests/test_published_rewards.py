"""The published rewards are those of the published code, with its faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewarded import FAR, OFF, PUBLISHED, TRUE, completion, pay, said, score

from vrft_core.tasks import published
from vrft_core.tasks.classification import rewards as classification
from vrft_core.tasks.detection import rewards as detection
from vrft_core.tasks.grounding import rewards as grounding


@pytest.mark.parametrize(("text", "truth", "iou", "confidence", "form"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_detection_rewards_are_those_of_the_published_code(text, truth, iou, confidence, form):
    assert pay("published/iou", text, truth) == pytest.approx(iou, abs=6e-4)
    assert pay("published/confidence", text, truth) == pytest.approx(confidence, abs=6e-4, nan_ok=True)
    assert pay("published/format", text, truth) == form


def test_the_published_iou_reward_is_exact_to_the_bit():
    text = completion([([103, 99, 301, 299], 0.31), ([598, 600, 800, 803], 0.77), (OFF, 0.5)])
    first, second = 197 * 198 / (200 * 199 + 198 * 200 - 197 * 198), 200 * 199 / (200 * 199 + 202 * 203 - 200 * 199)
    assert pay("published/iou", text, [TRUE, FAR]) == (second + first) / 3
    assert pay("published/confidence", text, [TRUE, FAR]) == (0.77 + (1 - 0.5) + 0.31) / 3


@pytest.mark.parametrize(
    ("name", "truth", "reward"),
    [
        ("", "737-200", 1.0),
        ("a", "A330-200", 1.0),
        ("7", "737-200", 1.0),
        ("dog", "hot dog", 1.0),
        ("A330", "A330-200", 1.0),
        ("A330-300", "A330-200", 0.0),
        ("A319, A330-200, 737-200", "A330-200", 1.0),
        ("Audi", "2012 Audi R8 Coupe", 1.0),
        ("2012", "2012 Audi R8 Coupe", 1.0),
        ("Audi R8 Coupe 2012", "2012 Audi R8 Coupe", 0.0),
        ("BAE 146-300", "BAE 146-200", 1.0),
        ("cat", "dog", 0.0),
        ("\ndog\n", "dog", 1.0),
    ],
)
def test_published_classification_takes_any_substring_and_one_equal_number(name, truth, reward):
    assert score(classification, "published/accuracy", said(name), [truth]) == reward


@pytest.mark.parametrize(
    ("box", "reward"),
    [
        ("(100,100),(300,300)", 2.0),
        ("(300,300),(100,100)", 2.0),
        ("(200,200),(200,200)", 1.0),
        ("(700,700),(900,900)", 1 - (0.64 - 0.08) / 0.64),
        ("(100,100),(300,200)", 1.5),
        ("[100, 99, 300, 300]", 0.0),
        ("(100.5,100),(300,300)", 0.0),
        ("nothing", 0.0),
        ("(100,100),(7,7),(300,300),(8,8)", 2.0),
    ],
)
def test_published_grounding_is_giou_plus_one_of_the_first_two_points(box, reward):
    value = score(grounding, "published/giou", said(box), (100, 100, 300, 300))
    assert value == pytest.approx(reward, abs=1e-9)


def test_published_grounding_is_not_bounded():
    assert score(grounding, "published/giou", said("(1000,1000),(0,0)"), (100, 100, 300, 300)) > 20


@given(st.text())
def test_published_rewards_survive_any_text(text):
    for task, truth in ((detection, [TRUE]), (classification, "dog"), (grounding, TRUE)):
        for name in task.SETS["published"].values():
            assert isinstance(score(task, name, said(text), truth), float)


def test_published_solutions_are_written_as_in_the_published_data():
    assert published.detection_solution([(1.0, 364.0, 98.0, 649.0)]) == (
        "<answer>[{'Position': [1, 364, 98, 649], 'Confidence': 1}]</answer>"
    )
    assert published.detection_solution([]) == "<answer>No Objects</answer>"
    assert published.grounding_solution((1, 2, 3, 4)) == "<answer>(1,2),(3,4)</answer>"
