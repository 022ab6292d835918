"""What a user can fix. Anything raised here reaches the terminal as one line and exit status 2.

Programming errors do not belong here: they keep their traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches

STOPPED = "interrupted; finished work is kept. Run the same command again to resume"


def nearest(name: str, known: Iterable[str]) -> str:
    """`is it cat or cats?`, or empty: for the remedy where a user wrote a name that does not exist."""
    close = get_close_matches(name, list(known), 3)
    return f"is it {' or '.join(close)}?" if close else ""


class InputError(ValueError):
    """Bad input: a single line that names the file, the field and the remedy; the parts are kept as attributes."""

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        self.where, self.problem, self.remedy = where, problem, remedy
        line = f"{where}: {problem}" + (f"; {remedy}" if remedy else "")
        line = " ".join(line.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))  # files may name anything
