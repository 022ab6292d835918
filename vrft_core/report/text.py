"""Numbers and names as a page shows them."""

FREQUENCY_NAMES = {
    "r": "rare (in 1 to 10 training images)",
    "c": "common (in 11 to 100)",
    "f": "frequent (in more than 100)",
}


def frequency_groups(meant: bool) -> dict[str | None, str]:
    """Letter → title of a chart; one chart of all (None) where the letters mean nothing."""
    return (
        {letter: f"{words[0].upper()}{words[1:]}" for letter, words in FREQUENCY_NAMES.items()}
        if meant
        else {None: "All"}
    )


def share(value: float | None) -> str:
    """A share in [0, 1] as per cent."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if 0 < value < 0.0995 or 0.995 <= value < 1 else f"{100 * value:.0f} %"


def decimal(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
