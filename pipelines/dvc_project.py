"""This project's DVC repository: `dagster_dvc` with the locks and messages that every entry point here uses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster_dvc
from dagster_dvc import Stage
from dagster_dvc.project import DECLARED
from pipelines.quick_stages import resolve
from vrft_core.locks import exclusive, wait_for_dvc

__all__ = ["DvcProject", "Stage"]


class DvcProject(dagster_dvc.DvcProject):
    """The DVC repository at `root`; dvc.yaml there owns the graph."""

    def _resolve(self) -> tuple[dict[str, Stage], set[str]]:
        found = resolve(Path(self.root))
        return (found, set(DECLARED)) if found else super()._resolve()

    @contextmanager
    def alone(self, target: str) -> Iterator[None]:
        """No other run on this machine works on the target meanwhile: stages of a wider scope are shared by cells."""
        with exclusive(Path(self.root) / ".dvc/tmp/vrft" / f"{target}.lock", target):
            yield

    def wait(self, said: str, known: set[str]) -> None:
        """Wait for the process that holds DVC's lock; one line names it."""
        wait_for_dvc(Path(self.root), said, known)

    def metrics(self, stage: Stage) -> dict[str, float]:
        """Every number of an evaluation, in points of 100: DVC's metrics files hold the deciding one alone."""
        found = {}
        for path in stage.metrics:
            whole = (Path(self.root) / path).with_name("metrics.json")
            if not whole.is_file():
                continue
            for name, metric in json.loads(whole.read_text(encoding="utf-8"))["metrics"].items():
                if metric["value"] is not None:
                    found[name] = round(100 * float(metric["value"]), 2)
        return found
