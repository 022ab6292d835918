"""A stage of dvc.yaml as plain data, and what can be said of it without DVC."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml for one key, resolved by DVC. Paths are relative to the project's root.

    `settings` is `meta.dagster`; `files` are the dependencies that no stage makes, such as code; `needs` are the
    targets whose outs it depends on; `metrics` are those of its outs that hold metrics; `key` is "" without `foreach`.
    """

    name: str
    key: str
    command: str
    description: str
    settings: dict
    files: tuple[str, ...]
    needs: tuple[str, ...]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def target(self) -> str:
        return f"{self.name}@{self.key}" if self.key else self.name


def of_row(row: dict[str, Any]) -> Stage:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Stage(**values)


class Made:
    """Which paths stages make."""

    def __init__(self, outs: Iterable[str]) -> None:
        self._outs = {PurePosixPath(out) for out in outs}
        self._above = {folder for out in self._outs for folder in out.parents}

    def __contains__(self, path: str) -> bool:
        """Whether some stage makes it, a part of it, or a folder that it is in."""
        own = PurePosixPath(path)
        return own in self._outs or own in self._above or not self._outs.isdisjoint(own.parents)


def numbers(value: object, name: str = "") -> dict[str, float]:
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in numbers(inner, f"{name}.{key}".lstrip(".")).items()}
    return {name: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}
