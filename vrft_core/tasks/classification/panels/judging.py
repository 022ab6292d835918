"""Which names are right, and in what way others are wrong; and what the gallery shows of them."""

from vrft_core.annotations import spoken
from vrft_core.report.gallery import Seen
from vrft_core.report.judged import Judged
from vrft_core.report.panel import Inputs
from vrft_core.report.text import printable
from vrft_core.tasks.classification.answers import Row, normalised, same

RIGHT = "An answer is right if it is one of the class's names."
EMPTY, OTHER, UNKNOWN, FORM = "no name", "another class's name", "a name of no class", "a wrong format"
FAILURES = (OTHER, UNKNOWN, EMPTY, FORM)
LONGEST = 60  # characters of a name


def judge(inputs: Inputs) -> dict[str, dict[str, Judged]]:
    """Model → example → whether its name is right."""
    known = {normalised(name) for category in inputs.truth.categories.values() for name in spoken(category)}
    return {
        model: {name: _judged(inputs, row, known) for name, row in rows.items()} for model, rows in inputs.rows.items()
    }


def _judged(inputs: Inputs, row: Row, known: set[str]) -> Judged:
    right, failures = same(row["said"], spoken(inputs.truth.categories[row["category_id"]])), []
    if not right:
        name = normalised(row["said"])
        failures.append(EMPTY if not name else OTHER if name in known else UNKNOWN)
    if row["reasons"]:
        failures.append(FORM)
    return Judged(float(right), tuple(failures))


def see(inputs: Inputs, model: str, name: str) -> Seen:
    """The name one model gave, with the probability it gave to it."""
    row: Row = inputs.rows[model][name]
    said = printable(row["said"], LONGEST) or "(nothing)"
    return Seen(said, notes=[f"probability of the name {row['certainty']:.2f}"])
