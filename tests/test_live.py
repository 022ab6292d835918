"""What one sees of a reinforcement while it runs."""

import json
from types import SimpleNamespace

import pytest

from vrft_core.tasks import get_task, names
from vrft_core.training.live import Live, examples, last_rows, numbers, printable

LOGS = {
    "loss": 0.1, "reward": 1.9453, "rewards/iou/mean": 0.519, "rewards/iou/std": 0.4, "rewards/format/mean": 0.968,
    "kl": 0.08306, "frac_reward_zero_std": 0.5, "answers/false_alarm": 0.125,
}  # fmt: skip


def row(step: int, reward: float, completion: str = "<answer>x</answer>") -> dict:
    return {"step": step, "label": "cat", "completion": completion, "rewards": {"iou": reward, "format": None}}


def state(step: int, main: bool = True) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=100, is_world_process_zero=main)


@pytest.fixture
def rollouts(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    rows = [row(1, 0.9), row(2, 0.2, "a\nb\u202ec" * 99), row(2, 0.7), row(2, 0.4)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_reward_its_parts_kl_groups_with_equal_rewards_and_the_tasks_own_share_are_told():
    assert numbers(LOGS, {"answers/false_alarm": "false alarms", "x": "y"}) == (
        "reward 1.95 (iou 0.52, format 0.97), KL 0.0831, groups with equal rewards 50%, false alarms 12%"
    )
    assert numbers({"reward": 1.0}, {}) == "reward 1.00"


def test_published_rewards_keep_their_names():
    logs = {"reward": 1.0, "rewards/published/iou/mean": 0.5, "rewards/published/format/mean": 1.0}
    assert numbers(logs, {}) == "reward 1.00 (published/iou 0.50, published/format 1.00)"


def test_the_best_and_the_worst_answer_of_the_last_step_are_shown(rollouts):
    best, worst = examples(last_rows(rollouts))
    assert best == "    best answer, reward 0.70   cat: <answer>x</answer>"
    assert worst.startswith("    worst answer, reward 0.20  cat: a b�c") and worst.endswith(" …") and len(worst) < 160
    assert examples([]) == [] and len(examples([row(1, 0.5)])) == 1


def test_a_file_that_is_being_written_shows_its_whole_lines_or_nothing(rollouts, tmp_path):
    with open(rollouts, "a") as file:
        file.write('{"step": 3, "lab')
    assert len(last_rows(rollouts)) == 3
    assert last_rows(tmp_path / "none.jsonl") == []
    rollouts.write_text("[1]\nx\n")
    assert last_rows(rollouts) == []


def test_it_speaks_after_the_first_step_and_at_each_fifth(rollouts, capsys):
    live = Live("x rft", rollouts, {"answers/false_alarm": "false alarms"})
    for step in range(1, 101):
        live.on_log(None, state(step), None, logs=LOGS)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("x rft: step")]
    assert [line.split(":")[1] for line in said] == [f" step {step}" for step in (1, 20, 40, 60, 80, 100)]


def test_sft_and_further_processes_say_nothing(rollouts, capsys):
    live = Live("x", rollouts, {})
    live.on_log(None, state(1), None, logs={"loss": 0.1})
    live.on_log(None, state(1, main=False), None, logs=LOGS)
    live.on_log(None, state(1), None, logs=None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("task", names())
def test_each_task_names_what_it_measures(task):
    """A name that `health` never gives would never be shown."""
    live = get_task(task).diagnostics.LIVE
    assert live and all(name in (get_task(task).diagnostics.health.__doc__ or "") for name in live)


def test_a_box_for_something_absent_is_a_false_alarm():
    task = get_task("detection")
    box = "<answer>[{'Position': [0, 0, 9, 9], 'Confidence': 1}]</answer>"
    read = [task.rewards.read(text, (1000, 1000)) for text in (box, "<answer>No Objects</answer>", box)]
    assert task.diagnostics.health(read, [[], [], [(0, 0, 9, 9)]])["answers/false_alarm"] == 0.5
    assert "answers/false_alarm" not in task.diagnostics.health(read[2:], [[(0, 0, 9, 9)]])


def test_model_output_cannot_play_with_the_terminal():
    assert printable("a\x1b[2Jb\u202e\n c", 20) == "a�[2Jb� c"
