"""The parser of counts: text in, a whole number and named reasons out; see `answer_span`."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from vrft_core.families.form import Form
from vrft_core.tasks.answer_span import answer_span
from vrft_core.tasks.task import Example, Prediction, Written

WATCHED = ()

_COUNT = re.compile(r"\s*+([0-9]{1,3})\s*+")
_ANYWHERE = re.compile(r"(?<![0-9.-])[0-9]{1,3}(?![0-9.])")


class Counted(NamedTuple):
    """The number an answer gives, None without one."""

    count: int | None
    reasons: tuple[str, ...] = ()


def parse(text: str, limit: object = None) -> Counted:
    """A number of one to three digits alone, or, with the reason `other_form`, the first one in the answer's text.

    `limit` is not used; all parsers are called alike.
    """
    start, end, reasons = answer_span(text)
    if asked := _COUNT.fullmatch(text, start, end):
        return Counted(int(asked[1]), tuple(reasons))
    said = text[start:end]
    if found := _ANYWHERE.search(said):
        return Counted(int(found[0]), (*reasons, "other_form"))
    return Counted(None, (*reasons, "unparsable" if said.strip() else "empty_answer"))


class Row(Prediction, total=False):
    """A prediction of counting."""

    count: int | None
    drawn: list[int | None]  # of sampled answers, where some were drawn


def row(example: Example, form: Form, written: Written) -> dict:
    """A completion as a prediction row keeps it."""
    read = parse(written.text)
    category = json.loads(example.truth)["category_id"]
    return {"category_id": category, "count": read.count, "reasons": list(read.reasons)}


def agree(row: Row, drawn: Sequence[Row]) -> None:
    """Adds what sampled answers said."""
    row["drawn"] = [one["count"] for one in drawn]
