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
    """One decimal, as points are written."""
    if value is None:
        return "–"
    text = f"{value:+.1f}" if sign else f"{value:.1f}"
    return text.replace("-", "−") if float(text) else "0.0"


def printable(text: str, limit: int = 400) -> str:
    """Text from outside as one may show it: control and direction characters made visible, cut at `limit`."""
    shown = "".join(c if c.isprintable() or c == "\n" else "�" for c in text[:limit])
    return shown + (" …" if len(text) > limit else "")
