"""The page of the nights: the last verdict, a sparkline for each metric of each cell, and a row a night.

Self-contained HTML without scripts. Everything that comes from files is escaped; links lead to reports by relative
paths that are made here, and to MLflow by http alone.
"""

from collections.abc import Sequence
from urllib.parse import quote

from markupsafe import Markup, escape

from vrft_core import io, nights
from vrft_core.cell import Layout
from vrft_core.report.page import environment, style
from vrft_core.report.verdict import points

SHOWN, WEEK = 60, 7  # nights in a sparkline; nights that tonight is also compared with
_WIDTH, _HEIGHT, _EDGE = 260, 56, 5


def write(layout: Layout, kept: Sequence[dict]) -> None:
    """Write reports/nightly/index.html. `kept`: nights as `nights.read` gives them, at least one."""
    io.write_text(nights.page(layout), html(kept))


def html(kept: Sequence[dict]) -> str:
    last = kept[-1]
    cells = list(dict.fromkeys(key for night in reversed(kept) for key in night["cells"]))
    return (
        environment()
        .get_template("nights.html.j2")
        .render(
            style=style(),
            last=last,
            cells=[_cell(kept, key) for key in cells],
            nights=[_row(night) for night in reversed(kept[-SHOWN:])],
        )
    )


def sparkline(title: str, rows: Sequence[dict]) -> Markup:
    """A metric over the nights: its line over the band of its 95 % intervals. `rows`: {"value", "low", "high"}."""
    known = [row for row in rows[-SHOWN:] if row["value"] is not None]
    if not known:
        return Markup('<p class="nothing">{}: nothing was recorded.</p>').format(title)
    lows = [row["value"] if row["low"] is None else row["low"] for row in known]
    highs = [row["value"] if row["high"] is None else row["high"] for row in known]
    bottom, top = min(lows), max(highs)
    span = top - bottom or 1.0

    def x(number: int) -> float:
        return round(_EDGE + (_WIDTH - 2 * _EDGE) * (number / (len(known) - 1) if len(known) > 1 else 1.0), 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * (value - bottom) / span, 1)

    line = " ".join(f"{x(i)},{y(row['value'])}" for i, row in enumerate(known))
    upper = [f"{x(i)},{y(value)}" for i, value in enumerate(highs)]
    lower = [f"{x(i)},{y(value)}" for i, value in enumerate(lows)]
    band = " ".join([*upper, *reversed(lower)])
    told = f"{title}: {len(known)} nights, last {points(known[-1]['value'])}"
    end = x(len(known) - 1)
    shapes = [
        f'<polygon points="{band}" class="band"/>',
        f'<polyline points="{line}" class="stroke line rft"/>',
        f'<line x1="{end}" x2="{end}" y1="{y(lows[-1])}" y2="{y(highs[-1])}" class="stroke rft"/>',
        f'<circle cx="{end}" cy="{y(known[-1]["value"])}" r="3.5" class="fill rft"/>',
    ]
    frame = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(told)}">'
    return Markup(frame + "".join(shapes) + "</svg>")


def _cell(kept: Sequence[dict], key: str) -> dict:
    rows = nights.of_cell(kept, key)
    last = next(night["cells"][key] for night in reversed(kept) if key in night["cells"])
    metrics = []
    for name, entry in (rows[-1]["metrics"] if rows else {}).items():
        over_time = [row["metrics"][name] for row in rows if name in row["metrics"]]
        week = [one["value"] for one in over_time[-WEEK - 1 : -1] if one["value"] is not None]
        metrics.append(
            {
                "label": entry["label"],
                "svg": sparkline(entry["label"], over_time),
                "now": entry,
                "week": sum(week) / len(week) if week else None,
            }
        )
    return {"key": key, "last": last, "metrics": metrics, "report": _report(key)}


def _report(key: str) -> str:
    """Of a cell `lvis-mini-1shot-s0`: ../lvis-mini-1shot/s0/report/report.html"""
    study, _, seed = key.rpartition("-")
    return f"../{quote(study, safe='')}/{quote(seed, safe='')}/report/report.html"


def _row(night: dict) -> dict:
    parts = [*night["rewards"].values(), night["golden"], night["data"]]
    link = str(night["run"] or "")
    verdicts = {key: row["verdict"] for key, row in night["cells"].items()}
    bad = {key: verdict for key, verdict in verdicts.items() if verdict != "good"}
    return {
        **night,
        "link": link if link.startswith(("http://", "https://")) else None,
        "bad": bad,
        "good": len(verdicts) - len(bad),
        "others": all(one["passed"] for one in parts if one is not None),
    }
