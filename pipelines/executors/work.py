"""What an executor is asked to run, and what it promises. How it does that is each executor's own module."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg

from vrft_core.params import Resources


@dataclass(frozen=True)
class Work:
    """One command. `prepare` is called before it is begun; `commit` when it ended well, before it is forgotten.

    Where work begun by an orchestrator that died is taken over, which needs equal `inputs`, nothing is prepared.
    `inputs` is asked for only where work may be taken over: DVC reads much to answer.

    `threads`: how many it computes with where there is no GPU; None: one for each CPU.
    """

    command: list[str]
    resources: Resources = field(default_factory=Resources)
    inputs: Callable[[], str] = lambda: ""
    prepare: Callable[[], None] = lambda: None
    commit: Callable[[], None] = lambda: None
    threads: int | None = None


class Executor(Protocol):
    def run(self, *, context: dg.AssetExecutionContext, work: Work) -> dg.PipesClientCompletedInvocation:
        """Return when the command ended well, with what it reported and what it cost.

        Raises dg.Failure with the end of its log when it did not; leaves nothing running when interrupted.
        """
        ...
