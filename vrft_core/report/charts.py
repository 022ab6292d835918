"""Small SVG charts: lines, bars, intervals. Data in, markup out; what the data mean is the page's affair.

Colours are CSS classes of the page (`base`, `sft`, `rft`, `s1` … `s6`), so that one chart serves light and dark; marks
and dashes differ too, so that nothing hangs on colour alone. Charts are drawn for a column of 420 px.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

WIDTH = 420
_LEFT, _RIGHT, _BOTTOM = 58, 14, 40
_MARKS = {"base": "diamond", "sft": "square", "rft": "circle"}
_CHARACTER = 7.4  # px, mean width of the 12 px font


@dataclass(frozen=True)
class Series:
    """One line: its name, its colour class, its points, and an x value to ring (a chosen checkpoint)."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]
    ring: float | None = None
    marks: bool = True


@dataclass(frozen=True)
class Bars:
    """One row of a bar chart: a label, {colour class: value or None}, and a remark shown after the label."""

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


@dataclass(frozen=True)
class _Axis:
    """A linear scale from data to pixels, with round ticks."""

    low: float
    high: float
    start: float
    stop: float
    ticks: list[float] = field(default_factory=list)

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start), 1)


def lines(
    title: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    limits: tuple[float | None, float | None] = (None, None),
    level: tuple[str, float] | None = None,
    height: int = 240,
) -> Markup:
    """A line chart. `limits` fix the y range where not None; `level` is a dashed reference line with its name."""
    series = [one for one in series if one.points]
    if not series:
        return nothing(title)
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + ([level[1]] if level else [])
    legend, top = _legend([(one.name, one.css, one.marks) for one in series])
    x_axis = _axis(min(xs), max(xs), _LEFT, WIDTH - _RIGHT, fixed=(min(xs), max(xs)), whole=True)
    y_axis = _axis(min(ys), max(ys), height - _BOTTOM, top, fixed=limits)
    parts = [legend, _grid(x_axis, y_axis, x_label, y_label, top, height)]
    if level:
        y = y_axis(level[1])
        parts.append(_tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="stroke base dash"))
        parts.append(_text(WIDTH - _RIGHT, y - 4, level[0], "end"))
    for one in series:
        path = " ".join(f"{x_axis(x)},{y_axis(y)}" for x, y in one.points)
        parts.append(_tag("polyline", points=path, class_=f"stroke line {one.css}"))
        for x, y in one.points:
            if one.marks:
                parts.append(_mark(one.css, x_axis(x), y_axis(y)))
            if one.ring == x:
                parts.append(_tag("circle", cx=x_axis(x), cy=y_axis(y), r=8, class_="ring"))
    told = "; ".join(f"{one.name} from {number(one.points[0][1])} to {number(one.points[-1][1])}" for one in series)
    return _svg(f"{title}. {y_label} by {x_label}: {told}.", height, parts)


def bars(title: str, rows: Sequence[Bars], names: Mapping[str, str], unit: str, high: float | None = None) -> Markup:
    """Horizontal bars, one group a row; `names` maps each colour class to its legend."""
    known = [value for row in rows for value in row.values.values() if value is not None]
    if not any(known):
        return nothing(title)
    thick = 11
    legend, top = _legend([(names[css], css, True) for css in names])
    labels = [_short(row.label, 20) + (f" {row.note}" if row.note else "") for row in rows]
    left = min(170, 12 + max(len(label) for label in labels) * _CHARACTER)
    group = thick * len(names) + 10
    height = round(top + group * len(rows) + _BOTTOM)
    axis = _axis(min(0, *known, 0), max(known), left, WIDTH - 34, fixed=(None if min(known) < 0 else 0, high))
    parts = [legend]
    for tick in axis.ticks:
        x = axis(tick)
        parts.append(_tag("line", x1=x, x2=x, y1=top, y2=height - _BOTTOM, class_="grid"))
        parts.append(_text(x, height - _BOTTOM + 16, number(tick), "middle"))
    parts.append(_text((left + WIDTH - 34) / 2, height - 6, unit, "middle", "axis"))
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + group * index + 5
        parts.append(_text(left - 6, y + thick * len(names) / 2 + 4, label, "end", "label"))
        for css in names:
            value = row.values.get(css)
            if value is None:
                parts.append(_text(left + 4, y + thick - 1, "–", "start", "value"))
            else:
                x1, x2 = sorted((axis(0), axis(value)))
                parts.append(_tag("rect", x=x1, y=y, width=max(x2 - x1, 1), height=thick - 1, class_=f"fill {css}"))
                parts.append(_text(x2 + 3, y + thick - 2, tenths(value), "start", "value"))
            y += thick
    told = "; ".join(
        f"{row.label} {row.note}: " + ", ".join(f"{names[css]} {tenths(row.values.get(css))}" for css in names)
        for row in rows
    )
    return _svg(f"{title}. {unit}. {told}.", height, parts)


def intervals(title: str, rows: Sequence[Interval], unit: str) -> Markup:
    """Points with their intervals against zero."""
    values = [(row, row.value) for row in rows if row.value is not None]
    rows = [row for row, _ in values]
    if not rows:
        return nothing(title)
    left, top, step = 12 + max(len(row.label) for row in rows) * _CHARACTER, 12, 40
    height = top + step * len(rows) + _BOTTOM
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    axis = _axis(min(0, *ends), max(0, *ends), left, WIDTH - _RIGHT)
    parts = []
    for tick in axis.ticks:
        x = axis(tick)
        parts.append(_tag("line", x1=x, x2=x, y1=top, y2=height - _BOTTOM, class_="grid zero" if tick == 0 else "grid"))
        parts.append(_text(x, height - _BOTTOM + 16, ("+" if tick > 0 else "") + number(tick), "middle"))
    parts.append(_text((left + WIDTH - _RIGHT) / 2, height - 6, unit, "middle", "axis"))
    for index, (row, value) in enumerate(values):
        y = top + step * index + step / 2
        parts.append(_text(left - 8, y + 4, row.label, "end", "label"))
        if row.low is not None and row.high is not None:
            low, high = axis(row.low), axis(row.high)
            parts.append(_tag("line", x1=low, x2=high, y1=y, y2=y, class_=f"stroke whisker {row.css}"))
            for x in (low, high):
                parts.append(_tag("line", x1=x, x2=x, y1=y - 5, y2=y + 5, class_=f"stroke whisker {row.css}"))
        parts.append(_mark(row.css, axis(value), y, 5))
        parts.append(_text(axis(value), y - 10, tenths(value, True), "middle", "value"))
    told = "; ".join(
        f"{r.label} {tenths(r.value, True)}, interval {tenths(r.low, True)} to {tenths(r.high, True)}" for r in rows
    )
    return _svg(f"{title}. {unit}. {told}.", height, parts)


def nothing(title: str) -> Markup:
    """What stands where there is nothing to draw."""
    return Markup('<p class="nothing">{}: nothing was recorded.</p>').format(title)


def number(value: float | None) -> str:
    """At most three digits that count."""
    if value is None:
        return "–"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 4
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−") if text != "-0" else "0"


def brief(value: float) -> str:
    """1_523_456 → 1.52 M"""
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}"


def tenths(value: float | None, sign: bool = False) -> str:
    """One decimal, as AP in points is written."""
    if value is None:
        return "–"
    text = f"{value:+.1f}" if sign else f"{value:.1f}"
    return text.replace("-", "−") if float(text) else "0.0"


def _axis(
    low: float,
    high: float,
    start: float,
    stop: float,
    fixed: tuple[float | None, float | None] = (None, None),
    whole: bool = False,
) -> _Axis:
    """Round limits around [low, high] with about five ticks; `fixed` limits stay as they are."""
    low, high = (low if fixed[0] is None else fixed[0]), (high if fixed[1] is None else fixed[1])
    if high <= low:
        low, high = low - (0 if fixed[0] is not None else 0.5), high + (1 if fixed[0] is not None else 0.5)
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    step = max(1, math.ceil(step)) if whole else step
    first = low if fixed[0] is not None else math.floor(low / step + 1e-9) * step
    last = high if fixed[1] is not None else math.ceil(high / step - 1e-9) * step
    base = math.ceil(first / step - 1e-9)
    ticks = [float(round((base + i) * step, 10)) for i in range(math.floor(last / step + 1e-9) - base + 1)]
    return _Axis(first, last, start, stop, ticks)


def _grid(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str, top: float, height: int) -> Markup:
    parts = []
    for tick in y_axis.ticks:
        y = y_axis(tick)
        parts.append(_tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(_text(_LEFT - 6, y + 4, number(tick), "end"))
    for tick in x_axis.ticks:
        parts.append(_text(x_axis(tick), height - _BOTTOM + 16, number(tick), "middle"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, height - 6, x_label, "middle", "axis"))
    middle = (top + height - _BOTTOM) / 2
    turned = _tag(
        "text", escape(y_label), x=0, y=0, transform=f"translate(11 {middle:g}) rotate(-90)", class_="axis middle"
    )
    return Markup("").join([*parts, turned])


def _legend(entries: Sequence[tuple[str, str, bool]]) -> tuple[Markup, float]:
    """Names with their lines, (name, colour class, with its mark); also where the drawing may begin below."""
    parts, x, y = [], 8.0, 14.0
    for name, css, marked in entries:
        width = 30 + len(name) * _CHARACTER + 12
        if x > 8 and x + width > WIDTH:
            x, y = 8.0, y + 18
        parts.append(_tag("line", x1=x, x2=x + 20, y1=y - 4, y2=y - 4, class_=f"stroke line {css}"))
        if marked:
            parts.append(_mark(css, x + 10, y - 4))
        parts.append(_text(x + 25, y, name, "start", "label"))
        x += width
    return Markup("").join(parts), y + 16


def _mark(css: str, x: float, y: float, size: float = 3.5) -> Markup:
    shape, kind = _MARKS.get(css, "circle"), f"fill {css}"
    if shape == "square":
        return _tag("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, class_=kind)
    if shape == "diamond":
        turn = f"rotate(45 {x:g} {y:g})"
        return _tag("rect", x=x - size, y=y - size, width=2 * size, height=2 * size, transform=turn, class_=kind)
    return _tag("circle", cx=x, cy=y, r=size, class_=kind)


def _text(x: float, y: float, text: str, anchor: str, css: str = "tick") -> Markup:
    return _tag("text", escape(text), x=x, y=y, class_=f"{css} {anchor}")


def _tag(name: str, content: str = "", /, **attributes: object) -> Markup:
    """One element. `class_` becomes class; numbers are written short; everything is escaped."""
    written = " ".join(
        f'{key.rstrip("_")}="{escape(f"{round(value, 1):g}" if isinstance(value, float) else value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name} {written}>{escape(content)}</{name}>" if content else f"<{name} {written}/>")


def _svg(description: str, height: float, parts: Sequence[Markup]) -> Markup:
    frame = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(description)}">'
    return Markup(frame) + Markup("").join(parts) + Markup("</svg>")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def smooth(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Running mean over the last `window` points, for curves too noisy to read."""
    return [
        (x, sum(y for _, y in points[max(0, i - window + 1) : i + 1]) / min(i + 1, window))
        for i, (x, _) in enumerate(points)
    ]
