"""What `vrft run` and `make demo` print: what is ahead, a line for each stage, the results, and what to do next."""

import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

import click

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.commands.status import MADE, OF_A_CELL, RUNNING, state
from vrft_core.commands.texts import interval
from vrft_core.commands.texts import seconds as spoken
from vrft_core.errors import STOPPED
from vrft_core.outcomes import outcome
from vrft_core.params import Params
from vrft_core.progress import duration
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.summary import pair_name
from vrft_core.report.verdict import PAIRS, blank, finds_nothing, points
from vrft_core.stages import OF_SOME, READS, STAGES, outcome_file

PROGRESS = re.compile(r"^(?:vrft: )?(.+: )?(\d+/\d+\b.*, \S+ left|\d+/\d+\b.*, done in \S+)$")
INTERRUPTED = f"vrft: {STOPPED}"
END_OF_STAGE = re.compile(r"^\S+ \w+: done( \(.*\))?$")  # what `vrft stage` says last; here the line says it
WIDEST = 120
BEAT = 1.0  # seconds
LARGER = "qwen2-vl-2b-lora"  # the smallest recipe with a real model: docs/choose-a-model.md
SPOKEN = 60  # seconds: less, of some of the stages, says nothing about the whole
REPORTED = ("base_eval", "sft_eval", "rft_eval")
# docs/results.md, what `make demo` shows
FIRST = "The small policy is pre-trained once: about twelve CPU minutes, seven on two cores; then about three a cell."
USUAL = "A cell of the drawn scenes takes about three CPU minutes; more images and categories take longer."


def ahead(layout: Layout, params: Params, cell: Cell, at_once: int = 1) -> list[str]:
    """What running a cell or study will do and about how long it takes, judging by earlier runs in this project.

    `at_once`: of the stages of a cell, how many run at the same time where they do not need each other.
    """
    other = params.compared(cell) if cell.scope == "study" else None
    cells = [one for one in params.cells() if one.at(cell.scope) in (cell, other)]
    wanted = {(name, one.at(STAGES[name])) for one in cells for name in OF_A_CELL}
    wanted |= {("study", cell)} if cell.scope == "study" else set()
    wanted |= {("comparison", cell)} if other else set()
    order = [*STAGES, *OF_SOME]
    states = {(name, own): state(layout, own, name, None) for name, own in wanted}
    new = sorted((one for one in wanted if states[one] != MADE), key=lambda one: (order.index(one[0]), one[1].key))
    others = sum(found == RUNNING for found in states.values())
    now = f", {others} being made by another run" if others else ""
    made = len(wanted) - len(new)
    lines = [f"{cell.key}: {len(wanted)} stages, {made} already made{now}; stale ones are made again."]
    if new:
        names = list(dict.fromkeys(name for name, _ in new))
        lines.append(f"To make: {', '.join(names)}.")
        times = [_seconds(layout, own, name) for name, own in new]
        known = [one for one in times if one is not None]
        if len(known) == len(times):
            lines.append(f"About {spoken(_span(dict(new), known, at_once))}, judging by earlier runs here.")
        elif params.recipe(cell).policy.pretraining and any(
            name == "policy" and seconds is None for (name, _), seconds in zip(new, times, strict=True)
        ):
            lines.append(f"{FIRST} Each stage shows the time it has left.")
        elif sum(known) >= SPOKEN:
            lines.append(f"At least {spoken(sum(known))}, judging by earlier runs here; some stages never ran here.")
        elif params.recipe(cell).policy.pretraining:
            lines.append(f"{USUAL} Each stage shows the time it has left.")
        else:
            lines.append("No earlier run here tells how long that takes; each stage shows the time it has left.")
    lines.append("Ctrl-C stops it; finished stages and checkpoints are kept, and the same command resumes.")
    return lines


def _span(names: Iterable[str], seconds: Sequence[float], at_once: int) -> float:
    """How long stages take in all: as long as the longest chain of them, or all of them shared out."""
    if at_once == 1:
        return sum(seconds)
    times = dict(zip(names, seconds, strict=True))

    def until(name: str) -> float:
        needs = REPORTED if name == "report" else READS.get(name, ())
        return times.get(name, 0.0) + max(map(until, needs), default=0.0)

    return max(*map(until, times), sum(seconds) / at_once)


def _seconds(layout: Layout, cell: Cell, name: str) -> float | None:
    """How long the stage took last: of this very cell, or else of another with the same recipe."""
    others = sorted((layout.root / "runs").glob(f"*{cell.recipe}*/{name}.outcome.json")) if cell.recipe else []
    for path in (outcome_file(layout, cell, name), *others):
        if isinstance(value := outcome(path).get("seconds"), int | float):
            return value
    return None


class Narrator:
    """One line a stage. On a terminal it shows the stage's progress in place; elsewhere lines are passed on.

    `line` may be called from another thread than the rest.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.stage, self.began, self.heard, self.lock = "", 0.0, False, threading.Lock()

    def environment(self) -> dict[str, str]:
        """For the stages' processes: how often they are to say how far they are."""
        return {"VRFT_PROGRESS_SECONDS": "1"} if self.live else {}

    def start(self, stage: str) -> None:
        with self.lock:
            self._end("✓")
            self.stage, self.began, self.heard = stage, time.monotonic(), False
            if self.live:
                self._in_place(f"▶ {stage}")
                threading.Thread(target=self._wait_for, args=(stage,), daemon=True).start()
            else:
                self._say(f"{stage}: running")

    def skip(self, stage: str, how: str) -> None:
        with self.lock:
            self._end("✓")
            self._say(f"{click.style('✓', fg='green')} {stage}  {how}" if self.live else f"{stage}: {how}")

    def line(self, text: str) -> None:
        """What a stage said, without its line end."""
        with self.lock:
            self.heard = True
            if self.stage and (END_OF_STAGE.match(text) or not text or text == INTERRUPTED):
                return
            if self.live and (found := PROGRESS.match(text)):
                name, _, key = self.stage.partition("@")
                what = (found[1] or "").removesuffix(": ").rpartition(": ")[2]
                own = what in ("", f"{key} {name}", name)  # the stage's own count: its name stands there already
                self._in_place("  ".join([f"▶ {self.stage}", *([] if own else [what]), found[2]]))
            else:
                self._say(text)
                if self.live and self.stage:
                    self._in_place(f"▶ {self.stage}")

    def close(self, how: str = "done") -> None:
        """`how` the current stage ended: done, failed or interrupted."""
        with self.lock:
            self._end("✓" if how == "done" else "✗", how)

    def _wait_for(self, stage: str) -> None:
        """Show how long a stage takes, until it says something: its imports take seconds, or minutes under load."""
        while True:
            time.sleep(BEAT)
            with self.lock:
                if self.heard or self.stage != stage:
                    return
                self._in_place(f"▶ {stage}  {duration(time.monotonic() - self.began)}")

    def _end(self, mark: str, word: str = "done") -> None:
        if not self.stage:
            return
        took = duration(time.monotonic() - self.began)
        after = "in" if word == "done" else "after"
        shown = click.style(mark, fg="red" if mark == "✗" else "green")
        self._say(f"{shown} {self.stage}  {took}" if self.live else f"{self.stage}: {word} {after} {took}")
        self.stage = ""

    def _say(self, text: str) -> None:
        print(("\r\x1b[K" if self.live else "") + text, file=self.stream, flush=True)

    def _in_place(self, text: str) -> None:
        room = max(shutil.get_terminal_size().columns - 1, 20)
        print(f"\r\x1b[K{text[:room]}", end="", file=self.stream, flush=True)


def result(layout: Layout, cell: Cell, width: int | None = None) -> list[str]:
    """The verdict, a table that fits the terminal, where the report is, and what to do next.

    `width`: in characters; by default the terminal's, 120 at most.
    """
    folder = layout.report(cell)
    found = io.read_json(folder / "metrics.json")
    width = width or min(shutil.get_terminal_size().columns, WIDEST)
    verdict = found["verdict"]
    lines = [*textwrap.wrap(verdict["headline"], width), ""]
    empty = blank(found)
    lines += textwrap.wrap(empty, width) if empty else _table(found, width)
    lines += ["", f"Report: {folder / 'report.html'}"]
    if cell.scope == "study" and (beside := layout.comparison(cell) / "metrics.json").is_file():
        compared = io.read_json(beside)
        lines += ["", *textwrap.wrap(compared["headline"], width), f"Comparison: {beside.with_name('summary.md')}"]
    if finds_nothing(found):
        add = f"vrft add {cell.benchmark} --recipe {LARGER} --shots {cell.shots}"
        lines.append(f"Next:   {add}   a larger model: docs/choose-a-model.md")
    elif cell.scope == "cell":
        lines.append(f"Next:   vrft run {cell.at('study').key}   the same over all seeds of the grid")
        lines.append(f"        vrft predict {cell.key} IMAGE --out boxed.png   try the model on an image")
    else:
        lines.append("Next:   vrft status   the whole grid")
    return lines


def _table(found: dict, width: int) -> list[str]:
    """Models and differences × metrics in points of 100; the deciding metric with its interval, others as they fit."""
    metric = found["verdict"]["metric"]
    columns = [(name, label) for name, label in found["columns"] if name == metric]
    columns += [(name, label) for name, label in found["columns"] if name != metric]
    rows = [(MODEL_NAMES[model], found["models"][model], False) for model in MODEL_NAMES]
    rows += [(pair_name(pair), found["differences"][pair], True) for pair in PAIRS]
    left = max(len(name) for name, *_ in rows)
    shown = [f"{name:<{left}}" for name in ("", *(name for name, *_ in rows))]
    hidden = 0
    for name, label in columns:
        head = f"{label}, 95 % interval" if name == metric else label
        column = [head, *(_entry(values.get(name), sign, name == metric) for _, values, sign in rows)]
        wide = max(map(len, column))
        if len(shown[0]) + 2 + wide > width and name != metric:
            hidden += 1
            continue
        shown = [f"{line}  {text:>{wide}}" for line, text in zip(shown, column, strict=True)]
    note = "Points of 100." + (f" {hidden} more columns are in the report." if hidden else "")
    return [*shown, note]


def _entry(entry: dict | None, sign: bool, whole: bool) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    return points(entry["value"], sign) + (f" ({interval(entry, sign)})" if whole else "")
