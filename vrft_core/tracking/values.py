"""Numbers and settings as MLflow takes them."""

import json
import math
import time
from collections.abc import Mapping
from typing import TypeGuard


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    rows = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + str(name)] = value if isinstance(value, str) else json.dumps(value)
    return rows


def points(value: float | None) -> float | None:
    """A share in [0, 1] as points of 100, with two decimals."""
    return round(100 * value, 2) if is_number(value) else None


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


def now() -> int:
    """Milliseconds, as MLflow counts."""
    return int(time.time() * 1000)
