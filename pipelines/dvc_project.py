"""This project's DVC repository: `dagster_dvc` with the locks, and the words about them, that every door here uses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import dagster_dvc
from dagster_dvc import Stage
from vrft_core.locks import exclusive, wait_for_dvc

__all__ = ["DvcProject", "Stage"]


class DvcProject(dagster_dvc.DvcProject):
    """The DVC repository at `root`; dvc.yaml there owns the graph."""

    @contextmanager
    def alone(self, target: str) -> Iterator[None]:
        """No other run on this machine works on the target meanwhile: stages of a wider scope are shared by cells."""
        with exclusive(Path(self.root) / ".dvc/tmp/vrft" / f"{target}.lock", target):
            yield

    def stages(self) -> dict[str, Stage]:
        """Every stage by its target. DVC takes seconds to resolve them: done once for files as they are."""
        root = Path(self.root)
        return dict(_resolved(self.root, *(_stamp(root / name) for name in ("dvc.yaml", "params.yaml"))))

    def wait(self, said: str, known: set[str]) -> None:
        """Wait for who holds DVC's lock; one line says for whom."""
        wait_for_dvc(Path(self.root), said, known)

    def metrics(self, stage: Stage) -> dict[str, float]:
        """The headline numbers in a stage's metrics files, in points of 100."""
        found = {}
        for path in stage.metrics:
            for name, metric in json.loads((Path(self.root) / path).read_text(encoding="utf-8"))["metrics"].items():
                if metric["value"] is not None:
                    found[name] = round(100 * float(metric["value"]), 2)
        return found


@lru_cache(maxsize=4)
def _resolved(root: str, *stamps: tuple[int, int]) -> dict[str, Stage]:
    return dagster_dvc.DvcProject(root=root).stages()


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written again."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size
