"""The predictions that teach most: lost and won against the model before, by what the answers earn."""

import json

import pytest
from small_policy import FORM

from vrft_core.evaluation.instructive import instructive
from vrft_core.tasks import get_task
from vrft_core.tasks.detection.prompts.questions import answer
from vrft_core.tasks.task import Example

TASK = get_task("detection")
BOX = [100, 100, 500, 500]
RIGHT, WRONG = answer([BOX], [1.0], "1 cat"), answer([[600, 600, 980, 980]], [1.0], "1 cat")


def example(number: int) -> Example:
    truth = json.dumps({"category_id": 1, "boxes": [BOX]})
    return Example(str(number), number, 112, 112, None, "cat", "Where?", RIGHT, truth)


def rows(texts: dict[int, str]) -> list[dict]:
    return [{"id": str(number), "completion": text} for number, text in texts.items()]


def test_half_are_losses_and_half_are_gains_each_once():
    now = {**dict.fromkeys(range(10), RIGHT), **dict.fromkeys(range(10, 20), WRONG)}
    before = {
        **dict.fromkeys(range(5), WRONG),
        **dict.fromkeys(range(5, 15), RIGHT),
        **dict.fromkeys(range(15, 20), WRONG),
    }
    found = instructive(TASK, FORM, [example(i) for i in range(20)], rows(now), rows(before), count=10)
    assert [one.example.image_id for one in found[:5]] == [10, 11, 12, 13, 14], "right before, wrong now"
    assert sorted(one.example.image_id for one in found[5:]) == [0, 1, 2, 3, 4], "wrong before, right now"
    assert found[0].gain < 0 < found[-1].gain


def test_an_answer_that_is_right_earns_all_and_one_that_finds_nothing_nothing():
    [one] = instructive(TASK, FORM, [example(1)], rows({1: RIGHT}), rows({1: "\x00 no answer"}))
    assert (one.earned, one.earned_before) == (pytest.approx(1.0), 0.0)


def test_questions_that_only_one_of_the_two_answered_are_left_out():
    assert instructive(TASK, FORM, [example(1), example(2)], rows({1: RIGHT}), rows({2: RIGHT})) == []
