"""Inputs of a stage that are damaged: flipped bits on the disk, truncated files, wrong bytes from DVC's cache.

DVC trusts that a file in its cache has the content that its name says. The digest of what a stage made is noted beside
its run (`outcomes`), and dvc.lock holds the recorded one; content with neither is refused before it is used.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from vrft_core import provenance
from vrft_core.errors import InputError

MOST = 256 * 2**20  # bytes: larger data are not read twice. Weights always are


def digest_of(path: Path, weights: bool) -> str | None:
    """DVC's digest of what is at `path`; None where there is nothing, or more data than are looked at."""
    if not path.is_dir() or (not weights and sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) > MOST):
        return None
    return provenance.directory_digest(path)


def refuse_damaged(root: Path, path: Path, made: str | None, weights: bool, command: str) -> None:
    """Raises InputError if `path` holds neither what dvc.lock records nor `made`, the digest of what its stage made.

    Where no digest is known, nothing is checked. `command`: the one that makes it again, for the message.
    """
    name = path.relative_to(root).as_posix()
    known = {*_recorded(root, name), *([made] if made else [])}
    if not known or (found := digest_of(path, weights)) is None or found in known:
        return
    raise InputError(
        path,
        "its bytes are neither those that dvc.lock records nor those that its stage made: damaged, or changed by hand",
        f"make it again: rm -r {name} && {command}",
    )


def _recorded(root: Path, name: str) -> Iterable[str]:
    """Every digest that dvc.lock gives for a path. It may be large, and is not parsed for this."""
    try:
        text = (root / "dvc.lock").read_text(encoding="utf-8")
    except OSError:
        return []
    return re.findall(rf"^ *- path: {re.escape(name)}\n(?: +hash: md5\n)? +md5: ([0-9a-f]+\.dir)$", text, re.MULTILINE)
