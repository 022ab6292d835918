"""The fixed set of adversarial answers: complete, paid as it says, and able to notice a reward that has changed."""

import math

import pytest

from vrft_core import rewards
from vrft_core.evaluation.adversarial import cases, rescore

NOTHING = {  # what these find is nothing, whatever they say
    "wrong box, sure", "wrong box, confidence 0", "wrong box with the true y1", "100 junk boxes, confidence 0",
    "No Objects on a positive", "a box on a negative", "inverted box", "box of NaN", "the answer only in the thought",
    "a part of the name", "one letter", "empty name", "a list of all names", "corners in the wrong order",
    "the whole frame inverted", "a point inside",
}  # fmt: skip


def test_there_are_at_least_45_cases_with_a_golden_value_for_every_reward():
    assert len(cases()) >= 45
    assert len({(case["task"], case["name"]) for case in cases()}) == len(cases())
    for case in cases():
        assert set(case["strict"]) == set(rewards.STRICT[case["task"]])
        assert all(0 <= value <= 1 for value in case["strict"].values())


def test_all_are_paid_as_specified_and_only_the_published_rewards_overpay():
    found = rescore()
    assert found["mismatches"] == []
    assert found["strict_overpaid"] == 0
    assert found["published_overpaid"] == 15


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_an_answer_that_finds_nothing_has_a_golden_reward_of_nothing(name):
    [case] = [case for case in cases() if case["name"] == name]
    assert not any(case["strict"][part] for part in ("iou", "confidence", "accuracy") if part in case["strict"])


def test_a_reward_that_pays_for_a_wrong_box_is_named_with_its_cases(monkeypatch):
    monkeypatch.setitem(rewards.REWARDS["detection"], "iou", lambda completion, truth: 1.0)
    found = rescore()
    assert {one["reward"] for one in found["mismatches"]} == {"iou"}
    assert {"case": "wrong box, sure", "reward": "iou", "golden": 0.0, "paid": 1.0} in found["mismatches"]


def test_a_reward_that_is_no_number_is_a_mismatch(monkeypatch):
    monkeypatch.setitem(rewards.REWARDS["grounding"], "iou", lambda completion, truth: math.nan)
    assert {one["paid"] for one in rescore()["mismatches"]} == {None}
