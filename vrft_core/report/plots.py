"""A report's curves and bars as small tables, which `dvc plots` draws and compares between revisions.

What a task alone has to show comes from its `panels.plots`. The templates that draw the tables are in `.dvc/plots`.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vrft_core import io
from vrft_core.evaluation.statistics import Bin
from vrft_core.report.figures import reward_parts
from vrft_core.report.panel import MODEL_NAMES, TRAINED

if TYPE_CHECKING:
    from vrft_core.training.record import Description

HEADS = {"lines": ("about", "series", "x", "y"), "bars": ("about", "series", "part", "points")}
MOST_BARS = 30  # parts in one chart
FEWEST = 10  # answers or boxes behind a point of a reliability diagram
Value = float | str | None


@dataclass(frozen=True)
class Plot:
    """One file. Rows as in HEADS; `about` says what both axes are, and each has a chart of its own.

    A row without a value is left out.
    """

    name: str
    kind: Literal["lines", "bars"]
    rows: Sequence[tuple[str, str, Value, Value]]


def learning(training: "Mapping[str, Description]") -> list[Plot]:
    """Validation score, reward and loss by training step."""
    metric = training["rft"].get("validation_metric", "score")
    about = f"validation ({metric}, points) by training step"
    scores = [
        (about, MODEL_NAMES[method], row["step"], 100 * score)
        for method in TRAINED
        for row in training[method].get("validation", [])
        if (score := row.get("score")) is not None
    ]
    log = training["rft"].get("log", [])
    rewards = [
        ("RFT: reward by training step", name, row["step"], row.get(key))
        for name, key in {"total": "reward", **reward_parts(log)}.items()
        for row in log
    ]
    losses = [
        (f"{MODEL_NAMES[method]}: loss by training step", MODEL_NAMES[method], row["step"], row.get("loss"))
        for method in TRAINED
        for row in training[method].get("log", [])
    ]
    return [Plot("validation", "lines", scores), Plot("reward", "lines", rewards), Plot("loss", "lines", losses)]


def reliability(stated: str, right: str, bins: Mapping[str, Sequence[Bin]]) -> Plot:
    """`stated`, `right`: what the two axes are; `bins`: by model. On the diagonal the confidence is calibrated."""
    about = f"{right} by {stated}, per cent"
    rows: list[tuple[str, str, Value, Value]] = [(about, "calibrated", 0, 0), (about, "calibrated", 100, 100)]
    for model, each in bins.items():
        for one in each:
            if one["boxes"] >= FEWEST and one["confidence"] is not None and one["precision"] is not None:
                rows.append((about, MODEL_NAMES[model], 100 * one["confidence"], 100 * one["precision"]))
    return Plot("reliability", "lines", rows)


def by_part(name: str, about: str, parts: Mapping[str, Mapping[str, float | None]]) -> Plot:
    """Bars. `parts`: part → model → share of 1. Of many parts those are kept where RFT and SFT differ most."""
    kept = sorted(parts, key=lambda part: -abs((parts[part]["rft"] or 0) - (parts[part]["sft"] or 0)))[:MOST_BARS]
    few = "" if len(kept) == len(parts) else f"; the {MOST_BARS} where RFT and SFT differ most, of {len(parts)}"
    rows = [
        (about + few, MODEL_NAMES[model], part, None if value is None else 100 * value)
        for part in sorted(kept)
        for model, value in parts[part].items()
    ]
    return Plot(name, "bars", rows)


def write(directory: Path, plots: Sequence[Plot]) -> None:
    """Each as `<kind>/<name>.csv`, in place of what the folders held before. A folder may stay empty."""
    for kind, head in HEADS.items():
        with io.new_directory(directory / kind) as folder:
            for plot in plots:
                if plot.kind == kind and (rows := list(_rows(plot))):
                    io.write_text(folder / f"{plot.name}.csv", _csv([head, *rows]))


def _rows(plot: Plot) -> Iterator[tuple[str, ...]]:
    for row in plot.rows:
        if None not in row:
            yield tuple(
                f"{one:.6g}" if isinstance(one, int | float) else _harmless(one) for one in row if one is not None
            )


def _harmless(text: str) -> str:
    """DVC puts names into a page's script as they are: `</script>` in a category's name would end it."""
    return text.replace("<", "‹").replace(">", "›")


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
