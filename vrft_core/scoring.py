"""Re-scoring logged completions: what `vrft score` does. The rewards themselves are in `rewards`.

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
from functools import lru_cache, partial
from typing import Any, NamedTuple

from pydantic_core import to_json

from vrft_core import file_kinds, rewards
from vrft_core.errors import InputError
from vrft_core.rewards import published

Score = Callable[[dict, str], tuple[dict, list[str]]]  # a row of the log and its place → parts, reasons
ACCEPTED = "give JSON lines with `completion` and `solution`"
_HARMLESS = {"no_answer_tag", "other_form", "other_key", "confidence_missing", "duplicate_box"}


def score_log(path: str, task: str, which: str) -> Iterator[str]:
    """One JSON line a completion: {"reward": sum of the parts, "parts": {name: value}, "reasons": [name, ...]}.

    All of the log is read and checked before the first line is yielded. A value that is not finite becomes null, with
    the reason `reward_not_finite`; `same_number` marks completions that the published rewards pay for one equal number.

    Args:
        path: a file of JSON lines, or `-` for standard input.
        task: detection, classification or grounding.
        which: strict or published.

    Raises:
        InputError: naming file and line, for a line that cannot be used.
    """
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


def truth_of(row: dict, where: str, task: str, limit: tuple[float, float]) -> Any:
    """The truth that a row states, as the rewards take it. Raises InputError where its solution states none."""
    return _usable(_truth(task, row["solution"], limit), row, where, task)


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
                    raise InputError(name, f"is no JSON, it seems to be {kind}", ACCEPTED) from None
                raise
            yield where, row


def _scored(row: dict, where: str, score: Score) -> str:
    parts, reasons = score(row, where)
    total = sum([value for value in parts.values() if value is not None])
    if not math.isfinite(total):
        reasons.append("reward_not_finite")
        parts = {part: _finite(value) for part, value in parts.items()}
    return to_json({"reward": _finite(total), "parts": parts, "reasons": reasons}).decode()


def _strict(task: str) -> Score:
    functions = {part: rewards.get(name, task) for part, name in rewards.SETS["strict"][task].items()}
    known = lru_cache(maxsize=1024)(partial(_truth, task))  # a group's completions share their solution

    def score(row: dict, where: str) -> tuple[dict, list[str]]:
        limit = limit_of(row)
        truth = _usable(known(row["solution"], limit), row, where, task)
        completion = rewards.read(row["completion"], task, limit)
        return {part: reward(completion, truth) for part, reward in functions.items()}, list(completion.parsed.reasons)

    return score


def _published(task: str) -> Score:
    known = published.REWARDS[task]
    functions = {part: known[name.removeprefix("published/")] for part, name in rewards.SETS["published"][task].items()}

    def score(row: dict, where: str) -> tuple[dict, list[str]]:
        text, solution = row["completion"], row["solution"]
        reasons = list(rewards.PARSERS[task](text, limit_of(row)).reasons)
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


def _usable(truth: Any, row: dict, where: str, task: str) -> Any:
    if isinstance(truth, _Unusable):
        raise InputError(where, f"`solution` cannot be used: {truth.why}", f"write it as a {task} answer")
    return (truth, *row["names"]) if task == "classification" and row.get("names") else truth


class _Unusable(NamedTuple):
    why: str


def _truth(task: str, solution: str, limit: tuple[float, float]) -> Any:
    """The truth that a solution text states, read by the parser that reads completions; or why it states none."""
    parsed = rewards.PARSERS[task](solution, limit)
    if faults := [reason for reason in parsed.reasons if reason not in _HARMLESS]:
        return _Unusable(", ".join(faults))
    if task == "classification":
        return parsed.name
    boxes = [detection.box for detection in parsed.detections]
    return boxes if task == "detection" else boxes[0]
