"""What a long step says about the time it still takes."""

from types import SimpleNamespace
from typing import Any

import pytest

from vrft_core import progress
from vrft_core.progress import Progress
from vrft_core.training.callbacks import Logging
from vrft_core.training.record import Record

NO_CONTROL: Any = None


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_work_that_is_not_counted_makes_no_step_slower_and_is_added_where_it_is_to_come(clock, capsys):
    one = Progress("x", 10, every=0)
    clock.seconds += 60
    one.aside, one.ahead = 50.0, 20.0
    one.step(5)

    assert capsys.readouterr().err == "x: 5/10, 30s left\n"


def test_a_training_counts_the_validations_ahead_as_long_as_those_it_has_seen(clock, capsys):
    record = Record()
    state: Any = SimpleNamespace(max_steps=100, global_step=0, is_world_process_zero=True)
    arguments: Any = SimpleNamespace(save_steps=20)
    logging = Logging("x", record, lambda step, row: None)

    logging.on_train_begin(arguments, state, NO_CONTROL)
    logging.progress.every = 0.0
    clock.seconds += 240  # the validation before the first step
    record.validation_cost["wall_seconds"] = 240.0
    record.validation.append({"step": 0, "score": 0.5})
    for step, said in ((1, "21m39s left"), (20, "21m20s left"), (21, "17m19s left")):
        clock.seconds += step - state.global_step  # a second a step
        if step == 21:
            clock.seconds += 240
            record.validation_cost["wall_seconds"] += 240
            record.validation.append({"step": 20, "score": 0.5})
        state.global_step = step
        logging.progress.done = step - 1
        logging.on_log(arguments, state, NO_CONTROL, logs={"loss": 1.0})
        assert capsys.readouterr().err.strip().endswith(said)


def test_a_run_that_goes_on_leaves_out_what_an_earlier_attempt_validated(clock, capsys):
    record = Record(validation=[{"step": 0, "score": 0.5}, {"step": 20, "score": 0.6}])
    record.validation_cost["wall_seconds"] = 200.0
    state: Any = SimpleNamespace(max_steps=40, global_step=20, is_world_process_zero=True)
    arguments: Any = SimpleNamespace(save_steps=20)
    logging = Logging("x", record, lambda step, row: None)

    logging.on_train_begin(arguments, state, NO_CONTROL)
    logging.progress.every = 0.0
    clock.seconds += 3
    state.global_step = 21
    logging.on_log(arguments, state, NO_CONTROL, logs={"loss": 1.0})

    assert capsys.readouterr().err == "x: 21/40, loss 1, 2m37s left\n"  # 19 steps of 3 s and a validation of 100 s
