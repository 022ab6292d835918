"""All studies of the grid in one table, a row each; the Visual-RFT paper's numbers beside them where it has any.

Reads what the studies recorded; nothing is computed again.
"""

from pathlib import Path

from markupsafe import Markup

from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.scores import Ends
from vrft_core.params import Params
from vrft_core.report.page import style
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.verdict import points

HEAD = ("study", "seeds", "measured by", *MODEL_NAMES.values(), "RFT − SFT", "paper: base, SFT, RFT")
NOTE = (
    "Points of 100, with 95 % intervals over evaluation images and seeds. The paper's numbers (arXiv 2503.01785) have "
    "no intervals; they stand where it reports the same model, data and number of shots."
)


def folder(layout: Layout) -> Path:
    return layout.root / "reports/tables"


def write(layout: Layout, params: Params) -> int:
    """Write index.html and summary.md; returns how many studies are in them."""
    studies = list(dict.fromkeys(cell.at("study") for cell in params.cells()))
    rows = [_row(layout, study) for study in studies]
    made = [row for row in rows if row]
    missing = [study.key for study, row in zip(studies, rows, strict=True) if not row]
    io.write_text(folder(layout) / "summary.md", _markdown(made, missing))
    io.write_text(folder(layout) / "index.html", _page(made, missing))
    return len(made)


def _row(layout: Layout, study: Cell) -> tuple[str, ...] | None:
    path = layout.report(study) / "metrics.json"
    if not path.is_file():
        return None
    results = io.read_json(path)
    metric = results["verdict"]["metric"]
    return (
        study.key,
        ", ".join(str(seed) for seed in results["seeds"]),
        results["verdict"]["title"],
        *(_interval(results["models"][model][metric]) for model in MODEL_NAMES),
        _interval(results["differences"]["rft-sft"][metric], True),
        _printed(layout, study, results["seeds"]),
    )


def _printed(layout: Layout, study: Cell, seeds: list[int]) -> str:
    """The paper's numbers, which each cell's report holds."""
    cell = Cell(study.recipe, study.benchmark, study.shots, seeds[0], study.data)
    path = layout.report(cell) / "metrics.json"
    found = io.read_json(path).get("paper") if path.is_file() else None
    if not found:
        return "–"
    known = {row["label"]: f"{row['paper']:g}" for row in found["rows"]}
    return f"{', '.join(known.get(model, '–') for model in MODEL_NAMES)} (table {found['table']})"


def _interval(entry: Ends, sign: bool = False) -> str:
    if entry["value"] is None:
        return "–"
    return f"{points(entry['value'], sign)} [{points(entry['low'], sign)}, {points(entry['high'], sign)}]"


def _markdown(rows: list[tuple[str, ...]], missing: list[str]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", "|---|---|---|" + "---:|" * (len(HEAD) - 3)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", NOTE, *_missing(missing)]) + "\n"


def _page(rows: list[tuple[str, ...]], missing: list[str]) -> str:
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in HEAD)
    body = Markup("").join(
        Markup('<tr><th scope="row"><a href="../studies/{0}/report.html">{0}</a></th>{1}</tr>').format(
            row[0], Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row[1:])
        )
        for row in rows
    )
    notes = Markup("").join(Markup('<p class="note">{}</p>').format(line) for line in (NOTE, *_missing(missing)))
    return Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>All studies</title><style>{}</style><main>'
        '<h1>All studies</h1><div class="scroll"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>{}'
        "</main></html>\n"
    ).format(style(), head, body, notes)


def _missing(missing: list[str]) -> list[str]:
    return [f"Not made yet: {', '.join(missing)}."] if missing else []
