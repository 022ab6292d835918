"""The processes that train one model together, one a GPU, as `accelerate launch` starts them; usually there is one.

Which process does what is decided where it is done; how many are started, and where, belongs to the launcher.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TypeVar, cast

import torch
from accelerate import PartialState

T = TypeVar("T")


def processes() -> PartialState:
    """All of them as this one sees them; without a GPU they talk over gloo."""
    return PartialState(cpu=not torch.cuda.is_available())


@contextlib.contextmanager
def split(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """This process's part of `items`, in order: parts follow each other. Only the main process prints meanwhile."""
    state = processes()
    quiet = contextlib.nullcontext() if state.is_main_process else contextlib.redirect_stderr(io.StringIO())
    with state.split_between_processes(cast(list, items)) as part, quiet:  # any sequence will do
        yield cast(Sequence[T], part)
