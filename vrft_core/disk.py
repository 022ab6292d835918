"""How much room the project's files take, by cell and by the wider scopes that cells share files in."""

import os
from collections.abc import Iterable
from pathlib import Path

from vrft_core.cell import Cell, Layout


def bytes_in(*paths: Path) -> int:
    """Of files and folders with all that is in them; a file with several names is counted once, a link not at all."""
    seen: set[tuple[int, int]] = set()
    return sum(_bytes(path, seen) for path in paths)


def _bytes(path: Path, seen: set[tuple[int, int]]) -> int:
    total = 0
    try:
        about = path.lstat()
        if path.is_symlink():
            return 0
        if not path.is_dir():
            new = (about.st_dev, about.st_ino) not in seen
            seen.add((about.st_dev, about.st_ino))
            return about.st_size if new else 0
        with os.scandir(path) as entries:
            for entry in entries:
                total += _bytes(Path(entry.path), seen)
    except OSError:  # it goes while it is looked at, or may not be read
        pass
    return total


def of_cell(layout: Layout, cell: Cell) -> dict[str, int]:
    """{"data", "models", "reports", "runs"} of a cell, or what a study, setup, data or recipe has of its own: bytes."""
    return {name: bytes_in(*paths) for name, paths in _places(layout, cell).items()}


def _places(layout: Layout, cell: Cell) -> dict[str, Iterable[Path]]:
    places: dict[str, Iterable[Path]] = {name: () for name in ("data", "models", "reports")}
    places["runs"] = (layout.root / "runs" / cell.key,)
    match cell.scope:
        case "cell":
            places["data"] = (layout.few_shot(cell), layout.prompts(cell))
            places["models"] = (layout.root / "models" / cell.key,)
            places["reports"] = (layout.report(cell).parent,)
        case "study":
            places["reports"] = (layout.report(cell),)
        case "setup":
            places["reports"] = (layout.evaluation(cell, "base"),)
        case "data":
            places["data"] = (layout.raw(cell),)
        case "recipe":
            places["models"] = (layout.policy(cell),)
    return places
