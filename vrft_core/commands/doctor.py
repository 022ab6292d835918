"""`vrft doctor`: what will go wrong with a cell, before anything is trained. Each check is a function in `checkups`.

Nothing is changed and nothing is downloaded. A check whose data or weights are missing says so, and guesses nothing.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict

from vrft_core.cell import Cell, Layout
from vrft_core.commands.cell_examples import Subject
from vrft_core.commands.checkups import data, machine, parameters, policy
from vrft_core.commands.checkups.finding import FAIL, OK, WARN, Finding
from vrft_core.errors import InputError
from vrft_core.params import Params

Check = Callable[[Subject], Finding]
CHECKS: dict[str, Check] = {
    "settings": parameters.settings,
    "packages": machine.packages,
    "memory": machine.memory,
    "disk": machine.disk,
    "evaluation images": data.evaluation_images,
    "categories": data.categories,
    "questions": data.questions,
    "box sizes": data.box_sizes,
    "near-duplicates": data.near_duplicates,
    "contradictions": data.contradictions,
    "lengths": policy.lengths,
    "names": policy.names,
    "first answers": policy.first_answers,
}


def doctor(layout: Layout, params: Params, cell: Cell) -> list[dict]:
    """A row a check: {"check", "level" (ok, warn or fail), "said", "remedy"}. Raises InputError for no cell."""
    if cell.scope != "cell":
        raise InputError(cell.key, f"names a {cell.scope}, and a cell is needed", "give the whole key")
    subject = Subject(layout, params, cell)
    return [{"check": name, **asdict(_examined(check, subject))} for name, check in CHECKS.items()]


def _examined(check: Check, subject: Subject) -> Finding:
    """A check's finding; an error that stops the check is a finding, too."""
    try:
        return check(subject)
    except InputError as error:
        absent = error.problem in ("no such file", "no policy here (config.json and safetensors)")
        return Finding(WARN if absent else FAIL, f"not checked: {error.where}: {error.problem}", error.remedy)


def failed(rows: list[dict]) -> bool:
    return any(row["level"] == FAIL for row in rows)


def table(rows: list[dict], cell: Cell) -> list[str]:
    """Lines for a terminal: level, check and what was found; the remedy below where there is something to do.

    What several checks in a row have found is said once.
    """
    wide = max(len(row["check"]) for row in rows)
    room = max(60, shutil.get_terminal_size((120, 24)).columns)
    lines, before = [], None
    for row in rows:
        again, before = row["level"] != OK and row["said"] == before, row["said"]
        lines.append(f"{row['level']:<4}  {row['check']:<{wide}}  {'for the same reason' if again else row['said']}")
        if row["level"] != OK and row["remedy"] and not again:
            lines.append(f"{'':<4}  {'':<{wide}}  → {row['remedy']}")
    counts = {level: sum(row["level"] == level for row in rows) for level in (FAIL, WARN, OK)}
    lines.append("─" * min(room, 60))
    after = "; `vrft run` runs all the same" if counts[FAIL] else ""
    return [*lines, f"{cell.key}: {counts[FAIL]} fail, {counts[WARN]} warn, {counts[OK]} ok{after}"]
