"""An interrupted training ends in the very bytes of an uninterrupted one, however it was interrupted."""

import os
import signal

import pytest
from small_policy import STEPS
from small_training import taught_project, training_in_own_process  # noqa: F401 - fixtures

from vrft_core import policy
from vrft_core.training import rft
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.interruption import Interruption


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "rft"])
def test_killed_twice_it_ends_in_the_very_bytes_of_an_uninterrupted_run(method, project, tmp_path, in_own_process):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_own_process(project, whole, method, None) == 0

    killed = -signal.SIGKILL
    assert in_own_process(project, broken, method, (2, "validation/coco/AP")) == killed  # while sealing checkpoint 2
    assert complete_checkpoints(broken) == []
    assert in_own_process(project, broken, method, (3, "loss")) == killed  # one step after it
    assert [step for step, *_ in complete_checkpoints(broken)] == [2]
    assert in_own_process(project, broken, method, None) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    first, last = (policy.loading.is_adapter(run / "kept") for run in (whole, broken))
    assert first and last
    marker = {run: complete_checkpoints(run)[-1][2] for run in (whole, broken)}
    assert marker[broken]["validation"] == marker[whole]["validation"]
    assert [row["step"] for row in marker[broken]["log"]] == [1, 2, 3, 4]
    assert [row["loss"] for row in marker[broken]["log"]] == [row["loss"] for row in marker[whole]["log"]]
    for name in ("completions", "tokens", "images"):
        assert marker[broken]["cost"][name] == marker[whole]["cost"][name]
    if method == "rft":
        assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()


@pytest.mark.parametrize("method", ["sft", "rft"])
@pytest.mark.slow
def test_told_to_end_it_seals_a_checkpoint_after_the_step_at_hand_and_goes_on_from_there(
    method, project, tmp_path, in_own_process
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_own_process(project, whole, method, None) == 0

    told = -signal.SIGTERM
    assert in_own_process(project, broken, method, (1, "loss"), how=signal.SIGTERM) == told
    ((step, _, sealed),) = complete_checkpoints(broken)  # where one was due: no time for its validation
    assert step == 2 and [row["step"] for row in sealed["validation"]] == [0]
    by_ctrl_c = 1  # of a process of Python's multiprocessing
    assert in_own_process(project, broken, method, (2, "validation/coco/AP"), how=signal.SIGINT) == by_ctrl_c
    assert [step for step, *_ in complete_checkpoints(broken)] == [2, 3]  # the best so far, and one between
    assert in_own_process(project, broken, method, None) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    marker = {run: complete_checkpoints(run)[-1][2] for run in (whole, broken)}
    assert marker[broken]["validation"] == marker[whole]["validation"]
    assert [row["loss"] for row in marker[broken]["log"]] == [row["loss"] for row in marker[whole]["log"]]
    if method == "rft":
        assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()


@pytest.mark.slow
def test_stopped_while_it_still_learns_from_a_generation_it_goes_on_from_the_end_of_one(
    project, tmp_path, in_own_process
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    two_updates = {"changes": {"num_iterations": 2, "save_steps": STEPS}}
    assert in_own_process(project, whole, "rft", None, **two_updates) == 0

    told = in_own_process(project, broken, "rft", (1, "loss"), how=signal.SIGTERM, **two_updates)
    assert told == -signal.SIGTERM
    assert [step for step, *_ in complete_checkpoints(broken)] == [2], "the step between is not one to go on from"
    assert in_own_process(project, broken, "rft", (3, "loss"), **two_updates) == -signal.SIGKILL
    assert [step for step, *_ in complete_checkpoints(broken)] == [2]
    assert in_own_process(project, broken, "rft", None, **two_updates) == 0

    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
    assert (broken / rft.ROLLOUTS).read_bytes() == (whole / rft.ROLLOUTS).read_bytes()
    logs = [complete_checkpoints(run)[-1][2]["log"] for run in (whole, broken)]
    assert [row["loss"] for row in logs[1]] == [row["loss"] for row in logs[0]]
    assert ["reward" in row for row in logs[0]] == [True, False, True, False], "two generations for four updates"


def test_a_signal_handler_from_elsewhere_does_not_let_an_interrupted_training_live_on():
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        interruption = Interruption()
        interruption.on_train_begin(None, None, None)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit):
            interruption.on_train_end(None, None, None)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_ctrl_c_stops_at_once_and_one_that_is_ignored_stays_so(capfd):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for handler in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(signal.SIGINT, handler)
            interruption = Interruption()
            interruption.on_train_begin(None, None, None)
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.noted == (0 if handler == signal.SIG_IGN else signal.SIGINT)
        assert "once more stops it at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.on_train_end(None, None, None)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_last_checkpoint_is_kept(project, tmp_path, in_own_process):
    assert in_own_process(project, tmp_path / "run", "sft", (3, "loss")) == -signal.SIGKILL
    said = tmp_path / "said"

    assert in_own_process(project, tmp_path / "run", "sft", None, 6_000, said) == 2

    assert (
        "no space left on the disk; free some space and run the stage again: it resumes from step 2" in said.read_text()
    )
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-2"]
    assert in_own_process(project, tmp_path / "run", "sft", None) == 0


@pytest.mark.slow
def test_early_stopping_judges_after_an_interruption_as_without_one(project, tmp_path, in_own_process):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    changes = {"patience": 1, "steps": 20, "save_steps": 1, "learning_rate": 0.0}
    assert in_own_process(project, whole, "sft", None, changes=changes) == 0
    told = in_own_process(project, broken, "sft", (1, "loss"), how=signal.SIGTERM, changes=changes)
    assert told == -signal.SIGTERM
    [*_, (step, _, sealed)] = complete_checkpoints(broken)
    assert step == 2 and [row["step"] for row in sealed["validation"]] == [0, 1], "where it is to end, unjudged"

    assert in_own_process(project, broken, "sft", None, changes=changes) == 0

    markers = [complete_checkpoints(run)[-1][2] for run in (whole, broken)]
    assert [row["step"] for row in markers[1]["log"]] == [1, 2]
    assert markers[1]["validation"] == markers[0]["validation"]
    weights = "kept/adapter_model.safetensors"
    assert (broken / weights).read_bytes() == (whole / weights).read_bytes()
