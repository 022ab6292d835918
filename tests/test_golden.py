"""The golden training: equal to the digit on the same type of processor, near elsewhere, and quick to name a change."""

import copy

import pytest

from vrft_core.commands.golden import compare_curves

RECORDED = {
    "processor": "A", "versions": {"torch": "1"}, "inputs": {"policy": "p", "prompts": "q"}, "settings": "s",
    "curves": {"sft": {"loss": [2.0, 1.5]}, "rft": {"loss": [0.01, 0.02], "reward": [1.25, 1.5]}},
}  # fmt: skip


def changed(**changes) -> dict:
    return copy.deepcopy(RECORDED) | changes


def with_reward(value: float, **changes) -> dict:
    now = changed(**changes)
    now["curves"]["rft"]["reward"][1] = value
    return now


def test_the_same_numbers_pass():
    found = compare_curves(changed(), RECORDED)
    assert (found["passed"], found["exact"]) == (True, True)


def test_the_last_digit_counts_on_the_same_type_of_processor():
    found = compare_curves(with_reward(1.5000000000000002), RECORDED)
    assert not found["passed"]
    assert found["said"] == "rft step 2: reward 1.5000000000000002, recorded 1.5"


@pytest.mark.parametrize(("value", "passed"), [(1.64, True), (1.36, True), (1.66, False), (float("nan"), False)])
def test_elsewhere_there_is_a_tolerance(value, passed):
    found = compare_curves(with_reward(value, processor="B"), RECORDED)
    assert (found["passed"], found["exact"]) == (passed, False)


def test_a_gpu_agrees_with_itself_within_the_tolerance_only():
    recorded = RECORDED | {"processor": "GPU X"}
    found = compare_curves(with_reward(1.51, processor="GPU X"), recorded)
    assert (found["passed"], found["exact"]) == (True, False)


def test_changed_packages_are_named_beside_a_difference():
    found = compare_curves(with_reward(9.0, versions={"torch": "2", "trl": "1"}), RECORDED)
    assert found["said"].endswith("(packages changed: torch 1 → 2, trl none → 1)")


@pytest.mark.parametrize("changes", [{"inputs": {"policy": "p", "prompts": "other"}}, {"settings": "other"}])
def test_a_curve_of_other_inputs_is_not_compared(changes):
    found = compare_curves(changed(**changes), RECORDED)
    assert not found["passed"] and "record the baseline again" in found["said"]


def test_a_curve_that_breaks_off_does_not_pass():
    now = changed()
    now["curves"]["sft"]["loss"].pop()
    assert compare_curves(now, RECORDED)["said"] == "sft: loss of 1 steps, recorded 2"
