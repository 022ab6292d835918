"""How a command that did not end well is reported to Dagster: the message, and whether another try may help.

Finding out what happened belongs to each executor.
"""

import shlex
import signal
from collections.abc import Sequence
from enum import Enum

import dagster as dg

INPUT_ERROR = 2  # the exit status `vrft` gives to a user's mistake
LINES_SHOWN = 15
TRIES = 3  # further ones, after the machine's fault


class Cause(Enum):
    """Why a job ended without a result."""

    OWN = "the command failed"
    MEMORY = "out of memory"
    TIME = "time limit"
    REFUSED = "cannot be run here as asked"
    CANCELLED = "cancelled by someone else"
    MACHINE = "lost through no fault of its own"  # node failure, eviction, preemption: another try may well succeed


def own_failure(command: list[str], status: int, last_lines: Sequence[str], note: str = "") -> dg.Failure:
    """The command itself ended with `status` (negative: a signal). Status 2 is a user's mistake: not retried."""
    if status == INPUT_ERROR and last_lines:
        return dg.Failure(last_lines[-1].removeprefix("vrft: "), allow_retries=False)
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return dg.Failure(f"`{shlex.join(command)}` {how}{note}." + said(last_lines))


def job_failure(cause: Cause, what: str, last_lines: Sequence[str], remedy: str = "") -> Exception:
    """What to raise for a job that its place ended; `what` says what happened, in the place's own words."""
    lines = "" if cause is Cause.REFUSED else said(last_lines)
    text = f"{what}{f'; {remedy}' if remedy else ''}.{lines}"
    failure = dg.Failure(text, allow_retries=False)
    if cause is not Cause.MACHINE:
        return failure
    again = dg.RetryRequested(max_retries=TRIES)
    again.__cause__ = failure
    return again


def said(last_lines: Sequence[str]) -> str:
    return " It last said:\n" + "\n".join(last_lines) if last_lines else " It said nothing."
