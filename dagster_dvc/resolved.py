"""A file with the stages as DVC resolved them, which takes DVC seconds where there are thousands.

It is good for as long as DVC and the files that were read are the same. One that is missing, damaged or of another
version is ignored; one that cannot be written is done without.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

MISSING = "missing"


def digests(root: Path, files: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file's bytes by its path under `root`."""
    return {name: _digest(root / name) for name in files}


def load(path: Path, root: Path, made_by: list[str]) -> list[dict] | None:
    """The rows that `store` wrote, where all is as it was then; else None."""
    try:
        head, body = path.read_text(encoding="utf-8").split("\n")
        about = json.loads(head)
        if about["made_by"] != made_by or about["files"] != digests(root, about["files"]):
            return None
        return json.loads(body) if about["digest"] == _of(body) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(path: Path, made_by: list[str], files: dict[str, str], rows: list[dict]) -> None:
    """Write the rows; `files`: the digests of all that was read for them."""
    body = json.dumps(rows, separators=(",", ":"))
    head = json.dumps({"made_by": made_by, "files": files, "digest": _of(body)})
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            with open(number, "w", encoding="utf-8") as file:
                file.write(f"{head}\n{body}")
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return MISSING


def _of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
