"""Under which terms data may be used: shown before the first download, recorded beside the data.

Fetching belongs to `download`.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from vrft_core.errors import InputError

VARIABLE = "VRFT_ACCEPT_LICENCES"


@dataclass(frozen=True)
class Licence:
    """Terms of some data. `ask` is true where they forbid commercial use, or say nothing."""

    name: str  # what VRFT_ACCEPT_LICENCES names
    terms: str
    attribution: str
    url: str
    ask: bool


def require(licences: Iterable[Licence]) -> None:
    """Return when all are accepted: by VRFT_ACCEPT_LICENCES (`all`, or names with commas), or by the person asked.

    Licences that do not `ask` are accepted as they are. Raises InputError with the first that is not accepted.
    """
    given = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")}
    for licence in sorted({item for item in licences if item.ask}, key=lambda item: item.name):
        if "all" in given or licence.name in given:
            continue
        if sys.stdin.isatty() and sys.stderr.isatty() and _agreed(licence):
            continue
        raise InputError(
            f"licence {licence.name}",
            f"{licence.terms} ({licence.url}): not accepted yet",
            f"to accept it, set {VARIABLE}={licence.name} (several with commas, or `all`)",
        )


def _agreed(licence: Licence) -> bool:
    lines = [f"Licence {licence.name}: {licence.terms}", f"  {licence.url}", f"  Cite: {licence.attribution}"]
    print(*lines, sep="\n", file=sys.stderr)
    print("Do you accept these terms? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
