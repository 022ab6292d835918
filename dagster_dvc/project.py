"""The DVC side: which stages there are, whether one is up to date, recording what it made. Nothing else touches DVC.

`dvc.repo.Repo` is not documented API (`dvc.api` has no status or commit), so it stays in this file and DVC is pinned.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

import dagster as dg
from dvc.dependency import ParamsDependency
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.rwlock import RWLockFileCorruptedError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.utils import dict_sha256
from filelock import FileLock

T = TypeVar("T")
PAUSE = 1.0  # seconds between tries while another process has a lock of DVC's
logging.getLogger("dvc").setLevel(logging.WARNING)  # no line for each write of dvc.lock


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


class DvcProject(dg.ConfigurableResource):
    """The DVC repository at `root`; dvc.yaml there owns the graph."""

    root: str

    def stages(self) -> dict[str, Stage]:
        """Every stage by its target, such as `train@large`, or `train` without `foreach`."""
        with self._repo() as repo:
            graph = repo.index.graph
            stages = cast(list[PipelineStage], repo.index.stages)  # dvc.yaml has no others
            made = [PurePosixPath(out.def_path) for stage in stages for out in stage.outs]
            needs = {stage.name: sorted(need.name for need in graph.successors(stage)) for stage in stages}
            return {str(stage.name): _read(stage, needs[stage.name], made) for stage in stages}

    @contextmanager
    def alone(self, target: str) -> Iterator[None]:
        """No other run on this machine works on the target meanwhile: partitions may share a stage."""
        path = Path(self.root) / ".dvc/tmp/dagster" / f"{target}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
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
        """The numbers in a stage's metrics files (JSON), nested names joined by `.`."""
        found: dict[str, float] = {}
        for path in stage.metrics:
            found |= _numbers(json.loads((Path(self.root) / path).read_text(encoding="utf-8")))
        return found

    def wait(self, said: str, known: set[str]) -> None:
        """Called when another process has a lock of DVC's, with DVC's words; returns when to try again.

        `known` grows by the words that a line has been written about.
        """
        if said not in known:
            known.add(said)
            dg.get_dagster_logger().info(f"DVC is busy, waiting: {said}")
        time.sleep(PAUSE)

    @contextmanager
    def _repo(self) -> Iterator[Repo]:
        # DVC reads stage names against the current directory, whichever repository is open.
        with chdir(self.root), Repo(self.root) as repo:
            yield repo

    def _locked(self, work: Callable[[Repo], T]) -> T:
        """Do `work`, which may be done twice, with DVC's locks: those of files, too, that another process works on.

        DVC itself fails at once, or after three seconds. Here it is waited for.
        """
        known: set[str] = set()
        while True:
            try:
                with self._repo() as repo, lock_repo(repo):
                    return work(repo)
            except (LockError, RWLockFileCorruptedError) as error:
                busy = str(error)
            self.wait(busy, known)


def _read(stage: PipelineStage, needs: list[str], made: list[PurePosixPath]) -> Stage:
    name, _, key = str(stage.name).partition("@")
    given = [dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    return Stage(
        name=name,
        key=key,
        command=str(stage.cmd),
        description=stage.desc or "",
        settings=(stage.meta or {}).get("dagster", {}),
        files=tuple(path for path in given if not _is_made(path, made)),
        needs=tuple(needs),
        outs=tuple(out.def_path for out in stage.outs),
        metrics=tuple(out.def_path for out in stage.outs if out.is_metric),
    )


def _is_made(path: str, made: list[PurePosixPath]) -> bool:
    """Whether some stage makes it, a part of it, or a folder that it is in."""
    own = PurePosixPath(path)
    return any(own.is_relative_to(out) or out.is_relative_to(own) for out in made)


def _numbers(value: object, name: str = "") -> dict[str, float]:
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _numbers(inner, f"{name}.{key}".lstrip(".")).items()}
    return {name: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}
