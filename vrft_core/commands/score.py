"""Re-scoring logged completions: what `vrft score` does. The rewards themselves are in each task's `rewards`.

A line of the log is {"completion": text, "solution": text}, where known with "image_size": [width, height], with
"frame": [width, height] of the whole image in the boxes' coordinates and, for classification, "names": [all names of
the true class]. The solution is written as in the published data sets:
`<answer>[{'Position': [...], 'Confidence': 1}]</answer>` or 'No Objects', `<answer>class name</answer>`,
`<answer>(x1,y1),(x2,y2)</answer>`.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic_core import to_json

from vrft_core import file_kinds
from vrft_core.errors import InputError
from vrft_core.tasks import Task, get_task, published

Score = Callable[[dict, str], tuple[dict, list[str]]]  # a row of the log and its place → parts, reasons
ACCEPTED = "give JSON lines with `completion` and `solution`"


def score_log(path: str, name: str, which: str) -> Iterator[str]:
    """One JSON line a completion: {"reward": sum of the parts, "parts": {name: value}, "reasons": [name, ...]}.

    All of the log is read and checked before the first line is yielded. A value that is not finite becomes null, with
    the reason `reward_not_finite`; `same_number` marks completions that the published rewards pay for one equal number.

    Args:
        path: a file of JSON lines, or `-` for standard input.
        name: of the task.
        which: strict or published.

    Raises:
        InputError: naming file and line, for a line that cannot be used.
    """
    task = get_task(name)
    score = _published(task) if which == "published" else _strict(task)
    return iter([_scored(row, where, score) for where, row in read_log(path)])


def read_log(path: str) -> Iterator[tuple[str, dict]]:
    """Each row of a log and where it stands (`file:line`), checked; `path` may be `-` for standard input."""
    if path == "-":
        yield from _rows(sys.stdin.buffer, "standard input")
        return
    try:
        with open(path, "rb") as file:
            yield from _rows(file, path)
    except OSError as error:
        raise InputError(path, error.strerror or "cannot be read", "give a file of JSON lines, or -") from None


def truth_of(task: Task, row: dict, where: str, limit: tuple[float, float]) -> Any:
    """The truth that a row states, as the rewards take it. Raises InputError where its solution states none."""
    try:
        return task.commands.solution(row, limit)
    except ValueError as error:
        raise InputError(where, f"`solution` cannot be used: {error}", f"write it as a {task.name} answer") from None


def limit_of(row: dict) -> tuple[float, float]:
    """The largest x and y of a row's boxes: of its `frame`, or else the larger of 0-1000 and pixels of the image."""
    if row.get("frame"):
        return frame_of(row)
    width, height = row.get("image_size") or (0, 0)
    return max(1000, width), max(1000, height)


def frame_of(row: dict) -> tuple[float, float]:
    """Width and height of the whole image in the coordinates of a row's boxes."""
    width, height = row.get("frame") or (1000, 1000)
    return width, height


def _rows(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, dict]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{name}:{number}"
            try:
                row = _row(line, where)
            except InputError:
                if number == 1 and (kind := file_kinds.recognised(name, line)):
                    raise InputError(name, f"is not JSON, it seems to be {kind}", ACCEPTED) from None
                raise
            yield where, row


def _scored(row: dict, where: str, score: Score) -> str:
    parts, reasons = score(row, where)
    total = sum([value for value in parts.values() if value is not None])
    if not math.isfinite(total):
        reasons.append("reward_not_finite")
        parts = {part: _finite(value) for part, value in parts.items()}
    return to_json({"reward": _finite(total), "parts": parts, "reasons": reasons}).decode()


def _strict(task: Task) -> Score:
    rewards = task.rewards
    functions = {part: rewards.get(name) for part, name in rewards.SETS["strict"].items()}
    known: dict[tuple, Any] = {}  # a group's completions share their solution

    def score(row: dict, where: str) -> tuple[dict, list[str]]:
        limit = limit_of(row)
        key = row["solution"], limit, tuple(row.get("names") or ())
        if key not in known:
            known.clear()
            known[key] = truth_of(task, row, where, limit)
        completion = rewards.read(row["completion"], limit)
        parts = {part: reward(completion, known[key]) for part, reward in functions.items()}
        return parts, list(completion.parsed.reasons)

    return score


def _published(task: Task) -> Score:
    rewards = task.rewards
    if not rewards.SETS["published"]:
        raise InputError("--rewards", f"no rewards of {task.name} were ever published", "leave it out: strict")
    known = published.REWARDS[task.name]
    functions = {part: known[name.removeprefix("published/")] for part, name in rewards.SETS["published"].items()}

    def score(row: dict, where: str) -> tuple[dict, list[str]]:
        text, solution = row["completion"], row["solution"]
        reasons = list(rewards.read(text, limit_of(row)).parsed.reasons)
        if published.same_number(text, solution):
            reasons.append("same_number")
        return {part: reward(text, solution) for part, reward in functions.items()}, reasons

    return score


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _row(line: bytes, where: str) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"not valid JSON: {error}", "one object a line") from None
    if not isinstance(row, dict):
        raise InputError(where, "not an object", "each line needs `completion` and `solution`")
    for field in ("completion", "solution"):
        if not isinstance(row.get(field), str):
            raise InputError(where, f"`{field}` is {'not a string' if field in row else 'missing'}", "give its text")
    for field in ("image_size", "frame"):
        size = row.get(field)
        if size is not None and not (
            isinstance(size, list)
            and len(size) == 2
            and all(type(side) in (int, float) and 0 < side < math.inf for side in size)
        ):
            raise InputError(where, f"`{field}` is not two positive numbers", "give [width, height] or leave it out")
    names = row.get("names")
    if names is not None and not (isinstance(names, list) and all(isinstance(one, str) and one for one in names)):
        raise InputError(where, "`names` is not a list of names", "give all names of the true class or leave it out")
    return row
