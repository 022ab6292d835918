"""The DVC side: which stages there are, whether one is up to date, recording what it made. Nothing else touches DVC.

`dvc.repo.Repo` is not documented API (`dvc.api` has no status or commit), so it stays in this file and DVC is pinned.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import dagster as dg
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.rwlock import RWLockFileCorruptedError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.utils import dict_sha256

from vrft_core.locks import exclusive, wait_for_dvc

T = TypeVar("T")
logging.getLogger("dvc").setLevel(logging.WARNING)  # no line for each write of dvc.lock


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml for one key, resolved by DVC. Paths are relative to the project's root.

    `needs` are the targets whose outs it depends on; `metrics` are those of its outs that hold metrics.
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
        return f"{self.name}@{self.key}"


class DvcProject(dg.ConfigurableResource):
    """The DVC repository at `root`; dvc.yaml there owns the graph."""

    root: str

    def stages(self) -> dict[str, Stage]:
        """Every stage by its target, such as `rft@lvis-mini-1shot-s0`."""
        with self._repo() as repo:
            graph = repo.index.graph
            stages = cast(list[PipelineStage], repo.index.stages)  # dvc.yaml has no others
            return {str(s.name): _read(s, sorted(need.name for need in graph.successors(s))) for s in stages}

    @contextmanager
    def alone(self, target: str) -> Iterator[None]:
        """No other run on this machine works on the target meanwhile: stages of a wider scope are shared by cells."""
        with exclusive(Path(self.root) / ".dvc/tmp/vrft" / f"{target}.lock", target):
            yield

    def up_to_date(self, target: str) -> bool:
        """Whether there is nothing to run, by the rule of `dvc repro`.

        Outs that are missing here but recorded for exactly these dependencies are taken from DVC's cache.
        Raises dg.Failure when a dependency is missing.
        """

        def look(repo: Repo) -> bool:
            if not repo.status(targets=[target]):
                return True
            (stage,) = repo.stage.collect(target)
            if missing := [dep.def_path for dep in stage.deps if not dep.exists]:
                raise dg.Failure(f"{missing[0]} is missing: materialize what lies upstream first", allow_retries=False)
            try:
                repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                return False
            repo.commit(target, force=True)
            return True

        return self._locked(look)

    def inputs(self, target: str) -> str:
        """One digest of a stage's command, dependencies and parameters as they are now."""

        def digest(repo: Repo) -> str:
            (stage,) = repo.stage.collect(target)
            stage.save_deps()
            return dict_sha256({"cmd": stage.cmd, "deps": [dep.dumpd() for dep in stage.deps]})

        return self._locked(digest)

    def clear(self, target: str) -> None:
        """Remove a stage's outs before it runs, as `dvc repro` does. The cache keeps what was committed."""

        def remove(repo: Repo) -> None:
            (stage,) = repo.stage.collect(target)
            stage.remove_outs(ignore_remove=False, force=False)

        self._locked(remove)

    def commit(self, target: str) -> None:
        """Put a stage's outs into the cache and write dvc.lock."""
        self._locked(lambda repo: repo.commit(target, force=True))

    def version(self, target: str) -> str:
        """DVC's digests of a committed stage's outs: equal bytes, equal version."""
        with self._repo() as repo:
            (stage,) = repo.stage.collect(target)
            return "+".join(out.hash_info.value for out in cast(list[Any], stage.outs))  # committed: each has a digest

    def metrics(self, stage: Stage) -> dict[str, float]:
        """The headline numbers in a stage's metrics files."""
        found = {}
        for path in stage.metrics:
            for name, metric in json.loads((Path(self.root) / path).read_text(encoding="utf-8"))["metrics"].items():
                if metric["value"] is not None:
                    found[name] = float(metric["value"])
        return found

    @contextmanager
    def _repo(self) -> Iterator[Repo]:
        # DVC reads stage names against the current directory, whichever repository is open.
        with chdir(self.root), Repo(self.root) as repo:
            yield repo

    def _locked(self, work: Callable[[Repo], T]) -> T:
        """Do `work`, which may be done twice, with DVC's locks: those of files, too, that another process works on.

        DVC itself fails at once, or after three seconds. Here it is waited for, and one line says for whom.
        """
        known: set[str] = set()
        while True:
            try:
                with self._repo() as repo, lock_repo(repo):
                    return work(repo)
            except (LockError, RWLockFileCorruptedError) as error:
                busy = str(error)
            wait_for_dvc(Path(self.root), busy, known)


def _read(stage: PipelineStage, needs: list[str]) -> Stage:
    name, _, key = str(stage.name).partition("@")
    return Stage(
        name=name,
        key=key,
        command=str(stage.cmd),
        description=stage.desc or "",
        settings=(stage.meta or {}).get("dagster", {}),
        files=tuple(dep.def_path for dep in stage.deps if dep.def_path.startswith("vrft_core/")),
        needs=tuple(needs),
        outs=tuple(out.def_path for out in stage.outs),
        metrics=tuple(out.def_path for out in stage.outs if out.is_metric),
    )
