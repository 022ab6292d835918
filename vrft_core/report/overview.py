"""The page that compares any reports: cells and studies, of one benchmark or of several, by what each is decided by.

From the numbers of reports that were made before (`metrics.json`); nothing is computed again. Metrics of different
tasks stand on one scale, points of 100, and are never averaged.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from vrft_core.report import charts, figures
from vrft_core.report.charts import Interval, Series
from vrft_core.report.page import environment, style
from vrft_core.report.panel import MODEL_NAMES, TRAINED
from vrft_core.report.rows import Figure
from vrft_core.report.summary import pair_name
from vrft_core.report.verdict import PAIRS, finds_nothing, outcome

if TYPE_CHECKING:
    from vrft_core.report.rows import CellResults, OutsideResults, StudyResults

Report: TypeAlias = "CellResults | StudyResults"


def html(
    groups: Mapping[str, Sequence[tuple[Report, str]]],
    outside: "Mapping[str, tuple[Sequence[OutsideResults], Sequence[str]]]" = MappingProxyType({}),
) -> str:
    """The page.

    Args:
        groups: benchmark and recipe → (results, address of their page) of each report.
        outside: cell → what was measured beside its models, and the names of what no longer belongs to its report.
    """
    every = [one for rows in groups.values() for one, _ in rows]
    return (
        environment()
        .get_template("overview.html.j2")
        .render(
            style=style(),
            headline=headline(every),
            overall=figures.drawn(_differences(every)) if len(groups) > 1 else [],
            groups=[_group(name, rows, outside) for name, rows in groups.items()],
            model_names=MODEL_NAMES,
            pairs=PAIRS,
            pair_names={pair: pair_name(pair) for pair in PAIRS},
        )
    )


def headline(every: Sequence[Report]) -> str:
    """For example: Of 3 reports, RFT beats SFT in 1, is worse in none, and is not shown to differ from it in 2."""
    if len(every) == 1:
        return every[0]["verdict"]["headline"]
    compared = _compared(every)
    if not compared:
        return f"In none of {len(every)} reports does any model find anything."
    found = [outcome(one["differences"]["rft-sft"][one["verdict"]["metric"]]) for one in compared]
    better, worse, rest = (found.count(kind) for kind in ("better", "worse", "undecided"))
    empty = len(every) - len(compared)
    return (
        f"Of {len(every)} reports, RFT beats SFT in {better or 'none'}, is worse in {worse or 'none'}, and is not "
        f"shown to differ from it in {rest or 'none'}.{f' In {empty}, no model finds anything.' if empty else ''}"
    )


def _compared(every: Sequence[Report]) -> list[Report]:
    return [one for one in every if not finds_nothing(one)]


def _group(
    name: str,
    rows: Sequence[tuple[Report, str]],
    outside: "Mapping[str, tuple[Sequence[OutsideResults], Sequence[str]]]",
) -> dict[str, Any]:
    first = rows[0][0]
    metric = first["verdict"]["metric"]
    same = [one for one, _ in rows if one["verdict"]["metric"] == metric]
    compared = _compared(same)
    curve = _shots(compared, name)
    return {
        "name": name,
        "subject": first["subject"],
        "title": first["verdict"]["title"],
        "reports": [
            {"results": one, "href": href, "metric": one["verdict"]["metric"], "empty": finds_nothing(one)}
            for one, href in rows
        ],
        "charts": figures.drawn([*curve, *(_differences(compared) if len(compared) > 1 else [])]),
        "one_shot": len({one["shots"] for one in same}) == 1,
        "outside": [other for one, _ in rows for other in outside.get(one["cell"], ([], []))[0]],
        "stale": [(one["cell"], name) for one, _ in rows for name in outside.get(one["cell"], ([], []))[1]],
        "paper": [{"cell": one["cell"], **table} for one in same if (table := _paper(one))],
    }


def _shots(every: Sequence[Report], name: str) -> list[Figure]:
    """Metric by number of shots, with intervals; none with a single number. Studies go before their cells."""
    by_shots: dict[int, Report] = {}
    for one in sorted(every, key=lambda one: "seeds" not in one):
        if one["shots"] is not None:
            by_shots.setdefault(one["shots"], one)
    if len(by_shots) < 2:
        return []
    shots = sorted(by_shots)
    metric, title = every[0]["verdict"]["metric"], every[0]["verdict"]["title"]
    series = []
    for model, label in MODEL_NAMES.items():
        known = [(n, by_shots[n]["models"][model][metric]) for n in shots]
        known = [(n, entry) for n, entry in known if None not in (entry["value"], entry["low"], entry["high"])]
        points = [(float(n), 100 * (entry["value"] or 0)) for n, entry in known]
        ends = [(100 * (entry["low"] or 0), 100 * (entry["high"] or 0)) for _, entry in known]
        series.append(Series(label, model, points, ends=ends))
    printed = [(n, table) for n in shots if (table := _paper(by_shots[n]))]
    for model, css in zip(TRAINED, ("s2", "s1"), strict=True):
        points = [(float(n), row["paper"]) for n, table in printed for row in table["rows"] if row["label"] == model]
        series.append(Series(f"{MODEL_NAMES[model]}, paper", css, points, marks=False))
    chart = charts.lines(
        f"{title} by number of shots, {name}", series, "few-shot images a category", f"{title}, points",
        ticks=[float(n) for n in shots], height=280,
    )  # fmt: skip
    caption = (
        "Each point with its 95 % interval: of the mean over seeds where there is a study, else of one seed alone. "
        "The untouched model sees no examples: its line only repeats its value."
    )
    return [figures.figure("By number of shots", chart, caption)]


def _differences(every: Sequence[Report]) -> list[Figure]:
    rows = []
    for one in _compared(every):
        entry = one["differences"]["rft-sft"][one["verdict"]["metric"]]
        value, low, high = (figures.times100(entry[name]) for name in ("value", "low", "high"))
        rows.append(Interval(one["cell"], "rft" if "seeds" in one else "base", value, low, high))
    if not rows:
        return []
    chart = figures.figure(
        "RFT − SFT",
        charts.intervals("RFT minus SFT", rows, "points, with 95 % interval"),
        "Each report by the metric that decides it. Circles: studies, whose intervals cover seeds too. Diamonds: "
        "single seeds.",
    )
    return [chart]


def _paper(one: Report) -> Mapping[str, Any] | None:
    return one.get("paper")  # pyright: ignore[reportReturnType]
