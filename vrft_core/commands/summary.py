"""Numbers of a stage or command as a person reads them: few digits, no JSON."""

from collections.abc import Mapping
from typing import Any


def one_line(numbers: Mapping[str, Any]) -> str:
    """` (steps 120, loss 0.0312)`, or nothing where there are no plain numbers. Not a number: left out."""
    parts = [f"{name.replace('_', ' ')} {short(value)}" for name, value in numbers.items() if _is_number(value)]
    return f" ({', '.join(parts)})" if parts else ""


def short(value: float) -> str:
    """Whole numbers with thousands, others with three significant digits and no exponent where that reads well."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
