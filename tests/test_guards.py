"""Guards: what is measured of a batch of answers, and when the recipe warns or stops."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from vrft_core.families.form import Form
from vrft_core.params import Limit
from vrft_core.params.recipes import GUARDED
from vrft_core.tasks import get_task, load_params, names
from vrft_core.training.guards import MEANINGS, METRICS, PAGE, Watch, metric
from vrft_core.training.record import Record
from vrft_core.training.rft import Reader

RECIPE = load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"]
RFT, DETECTION = RECIPE.rft, RECIPE.tasks["detection"]
BOX = "{'Position': [100, 100, 200, 200], 'Confidence': 1.00}"
NEAR = "{'Position': [100, 100, 200, 202], 'Confidence': 0.00}"
OTHER = "{'Position': [400, 400, 500, 500], 'Confidence': 0.50}"


def answered(*lists: str, truths=None, group=2) -> dict[str, float]:
    """What is measured of a batch of answers to the same question about a cat."""
    texts = [f"<think>1 cat</think><answer>{text}</answer>" for text in lists]
    truths = truths or [[[100, 100, 200, 200]]] * len(texts)
    rows = [
        {"id": "1-1", "width": 112, "height": 112, "truth": json.dumps({"category_id": 1, "boxes": boxes})}
        for boxes in truths
    ]
    return Reader(get_task("detection"), Form.of(RECIPE)).health(texts, rows, group)


def test_faults_are_counted_by_reason_and_all_together():
    found = answered(f"[{BOX}]", "nothing at all", "[", f"[{OTHER}]")
    assert found["answers/faulty"] == 0.5
    assert found["answers/unparsable"] == 0.5


def test_box_inflation_counts_what_was_offered_refused_boxes_too():
    inverted = "{'Position': [300, 300, 200, 200], 'Confidence': 1.00}"
    assert answered(f"[{BOX}, {OTHER}]", f"[{BOX}, {inverted}]")["boxes/inflation"] == 2.0
    assert "boxes/inflation" not in answered("No Objects", "No Objects", truths=[[], []])


def test_a_box_named_twice_is_noticed_whether_equal_or_nearly():
    assert answered(f"[{BOX}, {BOX}]", f"[{BOX}, {NEAR}]")["answers/repeating"] == 1.0
    assert answered(f"[{BOX}, {OTHER}]", f"[{BOX}]")["answers/repeating"] == 0.0


def test_confidences_at_the_ends_are_shares_of_the_boxes_that_state_one():
    found = answered(f"[{BOX}, {OTHER}]", "[{'Position': [1, 1, 9, 9]}]")
    assert found["confidence/one"] == 0.5 and found["confidence/zero"] == 0.0


def test_identical_is_one_where_sampling_gives_the_same_answer_each_time():
    assert answered(*[f"[{BOX}]"] * 4, group=4)["groups/identical"] == 1.0
    assert answered(f"[{BOX}]", f"[{BOX}]", f"[{OTHER}]", "[]", group=4)["groups/identical"] == pytest.approx(1 / 3)
    assert answered(f"[{BOX}]", f"[{OTHER}]", group=2)["groups/identical"] == 0.0


def test_every_guard_of_a_recipe_has_its_metric():
    assert set(METRICS) == set(GUARDED)
    for task in map(get_task, names()):
        assert set(task.diagnostics.GUARDS) == set(task.settings.Settings.MEASURED)
    assert metric("box_inflation", get_task("detection").diagnostics.GUARDS) == "boxes/inflation"
    assert metric("zero_variance/iou") == "rewards/iou/frac_zero_std"
    assert metric("reward/iou") == "rewards/iou/mean"


def watched(values: list[float], limit: Limit, name: str = "kl", control=None) -> Record:
    """The record of a run whose metric took `values`."""
    record = Record()
    watch = Watch("x rft", {name: limit}, {}, record)
    for step, value in enumerate(values, 1):
        record.log.append({"step": step, metric(name): value})
        state = type("State", (), {"global_step": step, "is_world_process_zero": True})
        watch.on_log(None, state, control, logs={"loss": 0.0})
    return record


def test_a_warning_comes_once_an_episode_and_only_after_enough_steps(capsys):
    record = watched([6, 1, 6, 7, 8, 9, 1, 6, 6, 6], Limit(above=5, steps=2))
    assert [warning["step"] for warning in record.warnings] == [4, 9]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("x rft: step 4: kl is 7, above 5 for 2 steps (the model is far from its starting weights; ")
    assert second.startswith("x rft: step 9: kl is 6, above 5 for 2 steps (")


def test_a_warning_says_what_it_means_and_where_more_stands(capsys):
    page, _, section = PAGE.partition(", ")
    assert f"\n## {section}\n" in (Path(__file__).parents[1] / page).read_text()
    assert set(MEANINGS) == set(GUARDED)
    watched([1.0], Limit(above=0.8), "zero_variance/iou")
    said = capsys.readouterr().err
    assert said.startswith("x rft: step 1: zero_variance/iou is 1, above 0.8 (the answers of most groups got equal rew")
    assert said.endswith(f": {PAGE})\n")


@pytest.mark.parametrize(
    "name", [*GUARDED, *(guard for task in names() for guard in get_task(task).diagnostics.GUARDS)]
)
def test_the_page_explains_every_guard(name):
    assert f"`{name}`" in (Path(__file__).parents[1] / PAGE.partition(",")[0]).read_text()


def test_steps_in_which_nothing_is_measured_neither_break_an_episode_nor_repeat_its_warning():
    record = Record()
    watch = Watch("x rft", {"faulty": Limit(above=0.5, steps=2)}, {}, record)
    for step, row in enumerate([{"answers/faulty": 0.9}, {}, {"answers/faulty": 0.8}, {}, {"answers/faulty": 0.8}], 1):
        record.log.append({"step": step, **row})
        state = type("State", (), {"global_step": step, "is_world_process_zero": False})
        watch.on_log(None, state, None, logs={"loss": 0.0})
    assert [warning["step"] for warning in record.warnings] == [3]


def test_checkpoints_fall_between_generations():
    with pytest.raises(ValidationError, match="save_steps 15 is not a multiple of num_iterations 2"):
        type(RFT).model_validate(RFT.model_dump() | {"num_iterations": 2})


def test_a_run_that_goes_on_from_a_record_says_what_it_would_have_said_in_one_go():
    whole = watched([1, 0.001, 0.001, 0.001], Limit(below=0.01, steps=3), "entropy")
    record = Record(log=[{"step": step, "entropy": value} for step, value in ((1, 1), (2, 0.001), (3, 0.001))])
    record.log.append({"step": 4, "entropy": 0.001})
    state = type("State", (), {"global_step": 4, "is_world_process_zero": True})
    Watch("x rft", {"entropy": Limit(below=0.01, steps=3)}, {}, record).on_log(None, state, None, logs={"loss": 0.0})
    assert record.warnings == whole.warnings == [{"step": 4, "guard": "entropy", "value": 0.001}]


def test_a_stopping_guard_ends_the_training_with_one_line_that_names_it_and_a_last_checkpoint(capsys):
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    record = watched([1, 6], Limit(above=5, then="stop"), control=control)

    assert record.stopped == {"step": 2, "guard": "kl", "value": 6, "limit": "kl is 6, above 5"}
    assert control.should_training_stop and control.should_save
    assert capsys.readouterr().err.startswith("x rft: step 2: kl is 6, above 5; the training ends here")


@pytest.mark.parametrize(
    ("guards", "beta", "message"),
    [
        ({"zero_varience": {"above": 1}}, 0.04, "no 'zero_varience'"),
        ({"box_inflation": {"above": 1}}, 0.04, "no 'box_inflation'.* or under tasks"),
        ({"kl": {"above": 1}}, 0.0, "beta is not 0"),
        ({"resampled": {"above": 0.5}}, 0.04, "resample is not 0"),
        ({"kl": {"then": "stop"}}, 0.04, "give `above`, `below` or both"),
    ],
)
def test_a_guard_that_could_never_speak_is_refused(guards, beta, message):
    with pytest.raises(ValidationError, match=message):
        type(RFT).model_validate(RFT.model_dump() | {"guards": guards, "beta": beta})


@pytest.mark.parametrize("name", ["box_inflatoin", "reward/accuracy", "kl"])
def test_a_guard_that_the_task_cannot_measure_is_refused_with_those_it_can(name):
    with pytest.raises(ValidationError, match=f"no '{name}'; known: box_inflation, confidence_one, .*reward/iou"):
        type(DETECTION).model_validate(DETECTION.model_dump() | {"guards": {name: {"below": 0.1}}})


def test_a_training_is_held_against_the_limits_of_the_recipe_and_of_its_task():
    assert RECIPE.guards("detection") == RFT.guards | DETECTION.guards
    assert {"kl", "box_inflation"} <= set(RECIPE.guards("detection"))
