"""`vrft`: what dvc.yaml calls, what Dagster launches, what a person types.

Parsing and printing only: each command's work is a function elsewhere, imported when the command runs. To add a
command, write one function with its decorators in the module of its section; nothing else lists it.
"""

import os
import sys
import warnings

import click

from vrft_core.cli import data, experiments, grid, models, operations  # noqa: F401  they register their commands
from vrft_core.cli.app import vrft
from vrft_core.errors import STOPPED, InputError

# Our own progress lines say what a library's bars and notices would say again; nothing is sent anywhere.
# Threads that wait do not spin: on cores shared with other work that halves a training's time.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def set_environment() -> None:
    """What every process of ours has set before it imports anything large; a user's own values stay."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status. A stage that fails may end the process by itself (SystemExit)."""
    set_environment()
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)  # PEFT's, not ours
    try:
        return vrft.main(argv, prog_name="vrft", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_INPUT
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "vrft"
        print(f"vrft: {_one_line(error.format_message())}; see `{command} --help`", file=sys.stderr)
        return BAD_INPUT
    except InputError as error:
        print(f"vrft: {error}", file=sys.stderr)
        return BAD_INPUT
    except click.Abort:
        print(f"vrft: {STOPPED}", file=sys.stderr)
        return INTERRUPTED


def _one_line(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
