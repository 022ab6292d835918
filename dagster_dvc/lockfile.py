"""dvc.lock as text: one stage's entry put in its place. DVC itself reads and writes all of it anew, in Python.

Only for a file as DVC writes it, with stages and nothing else; any other is left to DVC.
"""

import re

HEAD = "schema: '2.0'\nstages:\n"
NEXT = re.compile(r"^  \S", re.MULTILINE)  # the name of a stage; all that belongs to one stands farther in
OTHER = re.compile(r"^(\S|.*\t)", re.MULTILINE)


def put(text: str, entry: str) -> str | None:
    """The file `text` with `entry` (`  name:` and its lines, each ended) where that name stood, else at the end.

    None for a text that DVC has not written like that.
    """
    name = entry[: entry.index("\n") + 1]
    if not text.startswith(HEAD) or not text.endswith("\n") or OTHER.search(text, len(HEAD)) or not NEXT.match(name):
        return None
    at = text.find(f"\n{name}") + 1
    if not at:
        return text + entry
    after = NEXT.search(text, at + len(name))
    return text[:at] + entry + (text[after.start() :] if after else "")
