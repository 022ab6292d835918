"""Numbers and names as a page shows them."""

FREQUENCY_NAMES = {
    "r": "rare (in 1 to 10 training images)",
    "c": "common (in 11 to 100)",
    "f": "frequent (in more than 100)",
}


def share(value: float | None) -> str:
    """A share in [0, 1] as per cent."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if 0 < value < 0.0995 or 0.995 <= value < 1 else f"{100 * value:.0f} %"


def decimal(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
