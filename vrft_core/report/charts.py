"""Charts of the page: lines, bars, intervals, drawn by matplotlib. Data in, markup out; what they mean is the page's.

Colours are those of the style sheet (`base`, `sft`, `rft`, `s1` … `s6`), so that one chart serves light and dark; marks
and dashes differ too, so that nothing depends on colour alone. Charts are drawn for a column of 420 px.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from vrft_core.report.inline import COLOURS, drawing, svg
from vrft_core.report.text import number, printable, tenths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

WIDTH = 420
_LEFT, _RIGHT, _BOTTOM, _TOP = 48, 16, 40, 30  # px around the axes
_MARKS = {"base": "D", "sft": "s", "rft": "o"}
_DASHES = {"base": (0, (4, 4)), "sft": (0, (7, 3)), "s2": (0, (7, 3)), "s5": (0, (7, 3)), "s3": (0, (2, 3))}
_CHARACTER = 7.4  # px, mean width of the 12 px font
_LONGEST = 20  # characters of a label
_STEPS = [1, 2, 2.5, 5, 10]


@dataclass(frozen=True)
class Series:
    """One line: its name, its colour, its points, an x value to ring (a chosen checkpoint), and intervals if any."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]
    ring: float | None = None
    marks: bool = True
    ends: Sequence[tuple[float, float]] = ()  # (low, high) of each point


@dataclass(frozen=True)
class Bars:
    """One row of a bar chart: a label, {colour: value or None}, and a remark shown after the label."""

    label: str
    values: Mapping[str, float | None]
    note: str = ""


@dataclass(frozen=True)
class Interval:
    """One row of an interval chart."""

    label: str
    css: str
    value: float | None
    low: float | None
    high: float | None


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    limits: tuple[float | None, float | None] = (None, None),
    x_limits: tuple[float | None, float | None] = (None, None),
    ticks: Sequence[float] = (),
    level: tuple[str, float] | None = None,
    height: int = 240,
) -> Markup:
    """A line chart. `limits` and `x_limits` fix the ranges where not None; `ticks` of the x axis; `level` is a dashed
    reference line with its name."""
    series = [one for one in series if one.points]
    if not series:
        return nothing(title)
    with drawing(WIDTH, height) as figure:
        axes = _axes(figure, _LEFT, height, _TOP)
        for one in series:
            _line(axes, one, alone=len(series) == 1)
        if level:
            axes.axhline(level[1], color=COLOURS["base"], linestyle=(0, (5, 4)), linewidth=1.5)
            axes.annotate(
                level[0], (1, level[1]), (0, 4), axes.get_yaxis_transform(), textcoords="offset points", ha="right"
            )
        axes.set_xlabel(x_label)
        axes.set_title(y_label, loc="left", pad=9)
        axes.set_ylim(*limits)
        axes.set_xlim(*x_limits)
        axes.margins(x=0.02)
        axes.grid(axis="x", visible=False)
        _ticks(axes.xaxis, ticks, whole=all(float(x).is_integer() for one in series for x, _ in one.points))
        _ticks(axes.yaxis)
        told = "; ".join(f"{one.name} from {number(one.points[0][1])} to {number(one.points[-1][1])}" for one in series)
        drawn = svg(figure, f"{printable(title)}. {printable(y_label)} by {printable(x_label)}: {printable(told)}.")
    return (_legend([(one.name, one.css, one.marks) for one in series]) if len(series) > 1 else Markup()) + drawn


def bars(
    title: str,
    rows: Sequence[Bars],
    names: Mapping[str, str],
    unit: str,
    high: float | None = None,
    left: float | None = None,
) -> Markup:
    """Horizontal bars, one group a row; `names` maps each colour to its legend.

    `high`: where the scale ends (`shared`); `left`: px for the labels (`room`). Charts side by side share both.
    """
    known = [value for row in rows for value in row.values.values() if value is not None]
    if not any(known):
        return nothing(title)
    thick, gap = 11, 10
    group = thick * len(names) + gap
    height = 8 + group * len(rows) + _BOTTOM
    labels = [_label(row) for row in rows]
    with drawing(WIDTH, height) as figure:
        axes = _axes(figure, left or room(rows), height, 8, right=36)
        for index, row in enumerate(rows):
            for place, css in enumerate(names):
                value = row.values.get(css)
                at = group * index + gap / 2 + thick * (place + 0.5)
                if value is not None:
                    axes.barh(at, value, thick - 1, color=COLOURS[css], linewidth=0, gid=f"is-bar {css}")
                axes.annotate(
                    "–" if value is None else tenths(value), (max(value or 0, 0), at), (3, 0),
                    textcoords="offset points", va="center", fontsize=10, color=COLOURS["ink"], annotation_clip=False,
                )  # fmt: skip
        axes.set_ylim(group * len(rows), 0)
        axes.set_xlim(min(0, *known), high or _above(max(known)))
        axes.set_yticks([group * (i + 0.5) for i in range(len(rows))], labels, color=COLOURS["ink"])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(unit)
        _ticks(axes.xaxis)
        told = "; ".join(
            f"{row.label} {row.note}: " + ", ".join(f"{names[css]} {tenths(row.values.get(css))}" for css in names)
            for row in rows
        )
        drawn = svg(figure, f"{printable(title)}. {printable(unit)}. {printable(told, 10_000)}.")
    return (_legend([(names[css], css, True) for css in names]) if len(names) > 1 else Markup()) + drawn


def intervals(title: str, rows: Sequence[Interval], unit: str) -> Markup:
    """Points with their intervals against zero."""
    rows = [row for row in rows if row.value is not None]
    if not rows:
        return nothing(title)
    step = 40
    height = 10 + step * len(rows) + _BOTTOM
    labels = [_short(row.label, 26) for row in rows]
    with drawing(WIDTH, height) as figure:
        axes = _axes(figure, min(210, 14 + max(map(len, labels)) * _CHARACTER), height, 10)
        axes.axvline(0, color=COLOURS["soft"], linewidth=1.5)
        for at, row in enumerate(rows):
            assert row.value is not None
            if row.low is not None and row.high is not None:
                reach = [[row.value - row.low], [row.high - row.value]]
                axes.errorbar(row.value, at, xerr=reach, color=COLOURS[row.css], capsize=5, capthick=2, elinewidth=2)
            axes.plot(row.value, at, _MARKS.get(row.css, "o"), color=COLOURS[row.css], markersize=9)
            said, place = tenths(row.value, True), (row.value, at)
            axes.annotate(
                said, place, (0, 9), textcoords="offset points", ha="center", fontsize=10, color=COLOURS["ink"]
            )
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), labels, color=COLOURS["ink"])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(unit)
        axes.margins(x=0.08)
        _ticks(axes.xaxis, sign=True)
        told = "; ".join(
            f"{r.label} {tenths(r.value, True)}, interval {tenths(r.low, True)} to {tenths(r.high, True)}" for r in rows
        )
        return svg(figure, f"{printable(title)}. {printable(unit)}. {printable(told, 10_000)}.")


def nothing(title: str) -> Markup:
    """What stands where there is nothing to draw."""
    return Markup('<p class="nothing">{}: nothing was recorded.</p>').format(printable(title))


def _line(axes: "Axes", one: Series, alone: bool) -> None:
    xs, ys = zip(*one.points, strict=True)
    colour, mark = COLOURS[one.css], _MARKS.get(one.css, "o") if one.marks else ""
    dashes = "-" if alone else _DASHES.get(one.css, "-")
    axes.plot(xs, ys, marker=mark, markersize=6, color=colour, linewidth=2.2, linestyle=dashes)
    if one.ends:
        reach = [
            [y - low for y, (low, _) in zip(ys, one.ends, strict=True)],
            [high - y for y, (_, high) in zip(ys, one.ends, strict=True)],
        ]
        axes.errorbar(xs, ys, yerr=reach, fmt="none", ecolor=colour, elinewidth=1.6, capsize=4)
    for x, y in one.points:
        if one.ring == x:
            ring = {"markersize": 15, "markerfacecolor": "none", "markeredgecolor": COLOURS["ink"]}
            axes.plot(x, y, "o", gid="is-ring", **ring)


def _axes(figure: "Figure", left: float, height: float, top: float, right: float = _RIGHT) -> "Axes":
    sides = (left / WIDTH, _BOTTOM / height, (WIDTH - left - right) / WIDTH, (height - _BOTTOM - top) / height)
    return figure.add_axes(sides)


def _ticks(axis: "Axis", wanted: Sequence[float] = (), sign: bool = False, whole: bool = False) -> None:
    """Some five round numbers, or the `wanted` ones. `whole`: whole numbers alone, such as training steps."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: ("+" if sign and value > 0 else "") + number(value)))
    if wanted:
        axis.set_ticks(list(wanted))
    else:
        axis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=whole))


def _legend(entries: Sequence[tuple[str, str, bool]]) -> Markup:
    """Names with their lines: (name, colour, with its mark)."""
    row = '<li><span class="sample {}"></span>{}</li>'
    written = [
        Markup(row).format(css if not marked or css not in _MARKS else f"{css} marked", printable(name))
        for name, css, marked in entries
    ]
    return Markup('<ul class="key" aria-label="Key">{}</ul>').format(Markup("").join(written))


def _above(value: float) -> float:
    """A round end of a scale that holds `value`, such as 60 for 51."""
    from matplotlib.ticker import MaxNLocator

    return float(MaxNLocator(5, steps=_STEPS).tick_values(0, max(value, 1e-9))[-1])


def shared(rows: Sequence[Bars]) -> float | None:
    """Where the scales of several bar charts that are compared end; None without a value."""
    known = [value for row in rows for value in row.values.values() if value is not None]
    return _above(max(known)) if known and max(known) > 0 else None


def room(rows: Sequence[Bars]) -> float:
    """px that the labels of all these rows need."""
    return min(180, 14 + max((len(_label(row)) for row in rows), default=0) * _CHARACTER)


def _label(row: Bars) -> str:
    return f"{_short(row.label)} {row.note}".strip()


def _short(text: str, limit: int = _LONGEST) -> str:
    text = printable(text, 200)
    return text if len(text) <= limit else text[: limit - 1] + "…"
