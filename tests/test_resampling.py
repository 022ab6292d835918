"""Groups without variance give way to other questions; everything else stays as it was."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from own_processes import ended, free_port, in_own_process
from small_policy import BOXES, STEPS, small_recipe, taught_policy

from vrft_core.params import Recipe
from vrft_core.tasks import get_task
from vrft_core.training import rft
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.loop import count_flops, train
from vrft_core.training.record import ROLLOUTS, Record
from vrft_core.training.resampling import vary

NAN = float("nan")
TASK = get_task("detection")
CATEGORIES = (*BOXES, "cat")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("project")
    taught_policy(root / "policy", root / "prompts", CATEGORIES)
    return root


def recipe_with(rounds: int, rewards: tuple[str, ...] = ("iou", "format")) -> Recipe:
    recipe = small_recipe()
    settings = recipe.tasks["detection"].model_copy(update={"rewards": dict.fromkeys(rewards, 1.0)})
    rft = recipe.rft.model_copy(update={"resample": rounds})
    return recipe.model_copy(update={"rft": rft, "tasks": {"detection": settings}})


def run_training(root: Path, run: Path, recipe: Recipe, log=lambda step, numbers: None) -> Record:
    return train(
        rft.make_trainer(recipe, TASK, run, 7), recipe.rft, recipe, TASK,
        policy=root / "policy", prompts=root / "prompts", run=run, seed=7, what="rft", log=log,
    )  # fmt: skip


def rollouts(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / ROLLOUTS).read_text().splitlines()]


def pay(*dead: str) -> None:
    """From now on a reward of these categories' answers is always 0; others vary by the answer and its place."""

    def function(reader, name):
        def reward(completion_ids, label, **_) -> list[float]:
            rows = enumerate(zip(completion_ids, label, strict=True))
            return [0.0 if kind in dead else sum(ids) % 101 + place / 100 for place, (ids, kind) in rows]

        reward.__name__ = name
        return reward

    rft.Reader.reward_function = function


def weights(run: Path) -> bytes:
    return (run / f"checkpoint-{STEPS}" / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def paid(monkeypatch):
    monkeypatch.setattr(rft.Reader, "reward_function", rft.Reader.reward_function)  # put back afterwards
    return pay


@pytest.mark.slow
def test_a_question_whose_answers_are_all_worth_the_same_gives_way_to_another(project, tmp_path, paid):
    paid("hog", "tiger")
    run_training(project, tmp_path / "off", recipe_with(0))
    record = run_training(project, tmp_path / "on", recipe_with(2))

    assert {row["label"] for row in rollouts(tmp_path / "off")} == set(CATEGORIES)
    rows = rollouts(tmp_path / "on")
    assert {row["label"] for row in rows} == {"cat"}
    assert len(rows) == STEPS * 8 == record.cost["completions"]
    assert {len({row["id"] for row in rows[i : i + 4]}) for i in range(0, len(rows), 4)} == {1}
    assert sum(row["groups/resampled"] for row in record.log) > 0
    assert all(row["groups/dead"] == row["frac_reward_zero_std"] == 0 for row in record.log)
    base = project / "policy"
    with_waste = count_flops(record, recipe_with(2).rft, base, adapter=True)
    record.cost["discarded_tokens"] = 0
    assert count_flops(record, recipe_with(2).rft, base, adapter=True) < with_waste


@pytest.mark.slow
def test_where_every_group_varies_nothing_is_drawn_again_and_not_a_bit_differs(project, tmp_path, paid):
    paid()
    records = {name: run_training(project, tmp_path / name, recipe_with(int(name))) for name in "02"}
    assert weights(tmp_path / "2") == weights(tmp_path / "0")
    assert rollouts(tmp_path / "2") == rollouts(tmp_path / "0")
    own = ("groups/resampled", "groups/dead", "groups/discarded")
    for plain, row in zip(records["0"].log, records["2"].log, strict=True):
        assert [row.pop(name) for name in own] == [0, 0, 0]
        assert row | {"step_time": 0} == plain | {"step_time": 0}


@pytest.mark.slow
def test_where_no_question_helps_it_ends_after_its_rounds_and_says_what_that_took(project, tmp_path, paid):
    paid(*CATEGORIES)
    record = run_training(project, tmp_path / "run", recipe_with(2))
    for row in record.log:
        assert (row["groups/resampled"], row["groups/dead"], row["groups/discarded"]) == (0, 1, 2)
    assert record.cost["completions"] == STEPS * 8


def _in_a_process(root: Path, run: Path, kill_at: int | None = None, rank: int = 0, count: int = 1, port: int = 0):
    """Train where hogs are worth nothing; one of `count`; killed when it is about to log step `kill_at`."""
    if count > 1:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in told.items()} | {"MASTER_ADDR": "127.0.0.1"}
    pay("hog")

    def log(step: int, numbers: dict) -> None:
        if step == kill_at and "loss" in numbers:
            os.kill(os.getpid(), signal.SIGKILL)

    run_training(root, run, recipe_with(2), log)


start = partial(in_own_process, _in_a_process)


@pytest.mark.slow
def test_killed_and_taken_up_again_it_draws_the_same_questions(project, tmp_path):
    assert ended(start(project, tmp_path / "whole")) == [0]
    assert ended(start(project, tmp_path / "broken", kill_at=3)) == [-signal.SIGKILL]
    assert [step for step, *_ in complete_checkpoints(tmp_path / "broken")] == [2]
    assert ended(start(project, tmp_path / "broken")) == [0]

    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
    assert rollouts(tmp_path / "broken") == rollouts(tmp_path / "whole")
    markers = [complete_checkpoints(tmp_path / name)[-1][2] for name in ("whole", "broken")]
    resampled = [[row["groups/resampled"] for row in marker["log"]] for marker in markers]
    assert resampled[0] == resampled[1] and any(resampled[0][2:]), "some were drawn after the checkpoint"
    assert markers[0]["cost"]["discarded_tokens"] == markers[1]["cost"]["discarded_tokens"] > 0


@pytest.mark.slow
def test_two_processes_of_which_one_needs_another_question_do_not_wait_for_each_other(project, tmp_path):
    port = free_port()
    assert ended(*(start(project, tmp_path / "run", rank=rank, count=2, port=port) for rank in (0, 1))) == [0, 0]

    rows = rollouts(tmp_path / "run")
    assert len(rows) == STEPS * 8 and "hog" not in {row["label"] for row in rows}
    [*_, (_, _, sealed)] = complete_checkpoints(tmp_path / "run")
    assert {row["groups/resampled"] for row in sealed["log"]} == {0, 0.5}, "one of two processes at a time"
    assert [row["groups/dead"] for row in sealed["log"]] == [0] * STEPS
    assert all(row["groups/discarded"] == 2 * row["groups/resampled"] for row in sealed["log"]), "both draw one"


def test_a_group_varies_when_its_weighted_sums_do():
    groups = {
        "alike": [[1, 0], [1, 0]],
        "weighted alike": [[1, 0], [0, 0.5]],
        "different": [[1, 0], [0.9, 0]],
        "alike where it applies": [[1, NAN], [1, NAN]],
        "one of two cannot be scored": [[1, 0], [NAN, NAN]],
        "none can": [[NAN, NAN], [NAN, NAN]],
        "different by rounding": [[0.1, 0.1], [0.3, 0.0]],
    }
    found = vary(torch.tensor([row for rows in groups.values() for row in rows]), torch.tensor([1.0, 2.0]), 2)
    assert [name for name, varies in zip(groups, found.tolist(), strict=True) if varies] == ["different"]
