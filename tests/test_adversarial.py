"""The fixed set of adversarial answers: complete, paid as it says, and able to notice a reward that has changed."""

import math

import pytest

from vrft_core.evaluation.adversarial import cases, rescore
from vrft_core.tasks.task import Task

TASKS = {name: Task(name, f"vrft_core.tasks.{name}") for name in ("detection", "classification", "grounding")}
CASES = {name: cases(task) for name, task in TASKS.items()}

NOTHING = {  # what these find is nothing, whatever they say
    "wrong box, sure", "wrong box, confidence 0", "wrong box with the true y1", "100 junk boxes, confidence 0",
    "No Objects on a positive", "a box on a negative", "inverted box", "box of NaN", "the answer only in the thought",
    "a part of the name", "one letter", "empty name", "a list of all names", "corners in the wrong order",
    "the whole frame inverted", "a point inside",
}  # fmt: skip


def test_there_are_at_least_45_cases_with_a_golden_value_for_every_reward():
    assert sum(map(len, CASES.values())) >= 45
    for name, task in TASKS.items():
        assert len({case["name"] for case in CASES[name]}) == len(CASES[name])
        for case in CASES[name]:
            assert set(case["strict"]) == set(task.rewards.STRICT)
            assert all(0 <= value <= 1 for value in case["strict"].values())


def test_all_are_paid_as_specified_and_only_the_published_rewards_overpay():
    found = [rescore(task) for task in TASKS.values()]
    assert [one["mismatches"] for one in found] == [[], [], []]
    assert sum(one["strict_overpaid"] for one in found) == 0
    assert sum(one["published_overpaid"] for one in found) == 15


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_an_answer_that_finds_nothing_has_a_golden_reward_of_nothing(name):
    [case] = [case for each in CASES.values() for case in each if case["name"] == name]
    assert not any(case["strict"][part] for part in ("iou", "confidence", "accuracy") if part in case["strict"])


def test_a_reward_that_pays_for_a_wrong_box_is_named_with_its_cases(monkeypatch):
    task = TASKS["detection"]
    monkeypatch.setitem(task.rewards.REWARDS, "iou", lambda completion, truth: 1.0)
    found = rescore(task)
    assert {one["reward"] for one in found["mismatches"]} == {"iou"}
    assert {"case": "wrong box, sure", "reward": "iou", "golden": 0.0, "paid": 1.0} in found["mismatches"]


def test_a_reward_that_is_no_number_is_a_mismatch(monkeypatch):
    task = TASKS["grounding"]
    monkeypatch.setitem(task.rewards.REWARDS, "iou", lambda completion, truth: math.nan)
    assert {one["paid"] for one in rescore(task)["mismatches"]} == {None}
