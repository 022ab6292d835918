"""Numbers as a terminal shows them: few digits, points of 100, human units."""

from collections.abc import Mapping
from typing import Any

from vrft_core.report.verdict import points

FEW = 6  # numbers in a line


def one_line(numbers: Mapping[str, Any]) -> str:
    """` (steps 120, loss 0.0312)`: the first FEW numbers, or nothing where there are none."""
    parts = [f"{name.replace('_', ' ')} {short(value)}" for name, value in numbers.items() if _is_number(value)]
    return f" ({', '.join(parts[:FEW])})" if parts else ""


def short(value: float) -> str:
    """Whole numbers with thousands, others with three significant digits and no exponent where that reads well."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def interval(entry: Mapping[str, Any], sign: bool = False) -> str:
    """`31.2 to 38.9`, of an entry with `low` and `high`."""
    low, high = entry["low"], entry["high"]
    return "no interval" if low is None or high is None else f"{points(low, sign)} to {points(high, sign)}"


def seconds(value: float) -> str:
    """`under 0.1 seconds`, `0.4 seconds`, `40 seconds`, `12 minutes`, `3.4 hours`, `5.1 days`."""
    for size, name, digits in ((86_400, "days", 1), (3600, "hours", 1), (60, "minutes", 0), (1, "seconds", 0)):
        if value >= size * (1.5 if size > 1 else 1):
            return f"{value / size:.{digits}f} {name}"
    return f"{value:.1f} seconds" if value >= 0.1 else "under 0.1 seconds"


def size(count: float) -> str:
    """`512 B`, `3.1 MB`, `12 GB`: bytes in powers of 1000."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{short(round(count / unit, 1 if count < 10 * unit else 0))} {name}"
    return f"{int(count)} B"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
