"""One line every few seconds that says how far a long step is and how long it will still take.

Plain lines, no cursor control: the same text is readable in a terminal, in DVC's output and in Dagster's logs.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def duration(seconds: float) -> str:
    """`7s`, `3m05s`, `2h04m`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


class Progress:
    """Counts towards a known total and prints at most every `every` seconds, and at the end.

    `start` is where a resumed step begins, so that the estimate rests on the work done now. `every`: 5 on a terminal,
    30 elsewhere, or what VRFT_PROGRESS_SECONDS says: a caller that shows them in one place asks for more.

    `aside`: seconds spent on other work than what is counted; `ahead`: seconds of such work that are still to come.
    """

    def __init__(self, what: str, total: int, start: int = 0, every: float | None = None) -> None:
        usual = os.environ.get("VRFT_PROGRESS_SECONDS") or (5 if sys.stderr.isatty() else 30)
        self.what, self.total, self.start = what, total, start
        self.every = float(usual) if every is None else every
        self.done = start
        self.began = self.printed = time.monotonic()
        self.aside = self.ahead = 0.0

    def step(self, count: int = 1, /, **numbers: float) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.printed < self.every and self.done < self.total:
            return
        self.printed = now
        spent = now - self.began
        left = (spent - self.aside) / max(self.done - self.start, 1) * (self.total - self.done) + self.ahead
        shown = "".join(f", {name} {value:.3g}" for name, value in numbers.items())
        when = f"{duration(left)} left" if self.done < self.total else f"done in {duration(spent)}"
        print(f"{self.what}: {self.done}/{self.total}{shown}, {when}", file=sys.stderr, flush=True)


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Iterate with a Progress line."""
    progress = Progress(what, total)
    for item in items:
        yield item
        progress.step()
