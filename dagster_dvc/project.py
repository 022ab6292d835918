"""The DVC side: which stages there are, whether one is up to date, recording what it made. Nothing else touches DVC.

`dvc.repo.Repo` is not documented API (`dvc.api` has no status or commit), so it stays in this file and DVC is pinned.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import dagster as dg
from filelock import FileLock

from dagster_dvc import lockfile, parsed, resolved
from dagster_dvc.stage import Made, Stage, numbers, of_row

if TYPE_CHECKING:  # imported where DVC is asked: definitions load without it
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

T = TypeVar("T")
DECLARED = ("dvc.yaml", "params.yaml")  # what DVC reads of every project
ONE = threading.RLock()  # DVC works in the process's current folder, and takes its threads for one
PAUSE = 1.0  # seconds between tries while another process has a lock of DVC's


class CannotTell(Exception):
    """What is used cannot be known, so that nothing can be removed."""


class DvcProject(dg.ConfigurableResource):
    """The DVC repository at `root`; dvc.yaml there owns the graph."""

    root: str

    def stages(self) -> dict[str, Stage]:
        """Every stage by its target, such as `train@large`, or `train` without `foreach`.

        As resolved before, where dvc.yaml, the files it takes values from and DVC are still the same.
        """
        root = Path(self.root)
        path, made_by = (
            root / ".dvc/tmp/dagster/stages.json",
            [metadata.version("dvc"), *(one.name for one in fields(Stage))],
        )
        if rows := resolved.load(path, root, made_by):
            return {stage.target: stage for stage in map(of_row, rows)}
        before = resolved.digests(root, DECLARED)
        stages, read = self._resolve()
        files = resolved.digests(root, read)
        if read.issuperset(DECLARED) and all(files[name] == before[name] for name in DECLARED):
            resolved.store(path, made_by, files, [vars(stage) for stage in stages.values()])
        return stages

    def _resolve(self) -> tuple[dict[str, Stage], set[str]]:
        """The stages, and the files that they were read from; none where those are not the root's dvc.yaml alone."""
        with self._repo() as repo:
            graph = repo.index.graph
            stages = cast("list[PipelineStage]", repo.index.stages)  # dvc.yaml has no others
            made = Made(out.def_path for stage in stages for out in stage.outs)
            needs = {stage.name: sorted(need.name for need in graph.successors(stage)) for stage in stages}
            found = {str(stage.name): _read(stage, needs[stage.name], made) for stage in stages}
            if {stage.path_in_repo for stage in stages} != {"dvc.yaml"}:
                return found, set()
            read = {*DECLARED, *cast(Any, stages[0].dvcfile).resolver.context.imports}
            return found, read.union(*(stage.tracked_vars for stage in stages))

    @contextmanager
    def alone(self, target: str) -> Iterator[None]:
        """No other run on this machine works on the target meanwhile: partitions may share a stage."""
        path = Path(self.root) / ".dvc/tmp/dagster" / f"{target}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield

    def up_to_date(self, target: str) -> bool:
        """Whether there is nothing to run, see `made`."""
        return self.made(target) is not None

    def made(self, target: str) -> str | None:
        """The digests of what is there, as `commit`, if there is nothing to run by the rule of `dvc repro`; else None.

        Outs that are missing here but recorded for exactly these dependencies are taken from DVC's cache.
        Raises dg.Failure when a dependency is missing.
        """
        from dvc.stage.cache import RunCacheNotFoundError

        def look(repo: "Repo") -> str | None:
            (stage,) = repo.stage.collect(target)
            if not stage.status(check_updates=True):
                return _version(stage)
            if missing := [dep.def_path for dep in stage.deps if not dep.exists]:
                raise dg.Failure(f"{missing[0]} is missing: materialize what lies upstream first", allow_retries=False)
            (stage,) = repo.stage.collect(target)  # as dvc.lock has it: the look above has left its own digests
            try:
                repo.stage_cache.restore(stage)
            except RunCacheNotFoundError:
                return None
            return self._record(repo, target)

        return self._locked(look)

    def inputs(self, target: str) -> str:
        """One digest of a stage's command, dependencies and parameters as they are now."""
        from dvc.utils import dict_sha256

        def digest(repo: "Repo") -> str:
            (stage,) = repo.stage.collect(target)
            stage.save_deps()
            return dict_sha256({"cmd": stage.cmd, "deps": [dep.dumpd() for dep in stage.deps]})

        return self._locked(digest)

    def clear(self, target: str) -> None:
        """Remove a stage's outs before it runs, as `dvc repro` does. The cache keeps what was committed."""

        def remove(repo: "Repo") -> None:
            (stage,) = repo.stage.collect(target)
            stage.remove_outs(ignore_remove=False, force=False)

        self._locked(remove)

    def commit(self, target: str) -> str:
        """Put a stage's outs into the cache and write dvc.lock; returns their digests: equal bytes, equal version."""
        return self._locked(lambda repo: self._record(repo, target))

    def _record(self, repo: "Repo", target: str) -> str:
        """As `dvc commit --force`, but only this stage's part of dvc.lock is written anew."""
        from dvc.stage.serialize import to_lockfile
        from dvc.utils.serialize import dumps_yaml

        repo._reset()
        (stage,) = cast("list[PipelineStage]", list(repo.stage.collect(target)))
        stage.save()
        stage.commit(relink=True)
        path = Path(self.root) / "dvc.lock"
        entry = dumps_yaml({"stages": to_lockfile(stage)}).partition("\n")[2]
        text = lockfile.put(path.read_text(encoding="utf-8"), entry) if path.is_file() else None
        if text is None:
            stage.dump(update_pipeline=False)
        else:
            new = path.with_name(".dvc.lock.new")
            new.write_text(text, encoding="utf-8")
            new.replace(path.resolve())
        return _version(stage)

    def metrics(self, stage: Stage) -> dict[str, float]:
        """The numbers in a stage's metrics files (JSON), nested names joined by `.`."""
        found: dict[str, float] = {}
        for path in stage.metrics:
            found |= numbers(json.loads((Path(self.root) / path).read_text(encoding="utf-8")))
        return found

    def unused(self, keep: Iterable[str], before: float, remove: bool = False) -> tuple[int, int]:
        """(objects, bytes) of DVC's cache that nothing uses and that are older than `before` (seconds since 1970);
        `remove` removes them, by DVC's own collector. The number of bytes is that of files, whatever they share.

        Used is what the workspace, a branch, a tag or an experiment names, and `keep`: DVC's digests of further files
        and folders. Raises CannotTell where not all of that can be read, or other projects may use the cache.
        """
        from dvc.exceptions import DvcException
        from dvc.scm import NoSCM
        from dvc_data.hashfile.gc import gc
        from dvc_data.hashfile.hash_info import HashInfo

        def look(repo: "Repo") -> tuple[int, int]:
            cache = repo.cache.local
            if not Path(cache.path).resolve().is_relative_to(Path(self.root).resolve()):
                raise CannotTell(f"DVC's cache is {cache.path}, which other projects may use: see `dvc gc --projects`")
            every = not isinstance(repo.scm, NoSCM)
            try:
                found = repo.used_objs(all_branches=every, all_tags=every, all_experiments=every)
            except DvcException as error:
                raise CannotTell(f"DVC cannot tell what is used: {error}") from None
            used = {one.value for objects in found.values() for one in objects} | _whole(cache, keep)
            sizes: dict[str, int] = {}
            for one in set(cache.all()) - used:
                about = Path(cache.oid_to_path(one)).stat()
                if about.st_mtime < before:
                    sizes[one] = about.st_size
            if remove and sizes:
                gc(cache, [HashInfo(cache.hash_name, one) for one in set(cache.all()) - set(sizes)])
            return len(sizes), sum(sizes.values())

        return self._locked(look)

    def wait(self, said: str, known: set[str]) -> None:
        """Called when another process has a lock of DVC's, with DVC's words; returns when to try again.

        `known` grows by the words that a line has been written about.
        """
        if said not in known:
            known.add(said)
            dg.get_dagster_logger().info(f"DVC is busy, waiting: {said}")
        time.sleep(PAUSE)

    @contextmanager
    def _repo(self) -> "Iterator[Repo]":
        from dvc.repo import Repo

        parsed.once()
        logging.getLogger("dvc").setLevel(logging.WARNING)  # no line for each write of dvc.lock
        # DVC reads stage names against the current directory, whichever repository is open.
        with ONE, chdir(self.root), Repo(self.root) as repo:
            yield repo

    def _locked(self, work: "Callable[[Repo], T]") -> T:
        """Do `work`, which may be done twice, with DVC's locks: those of files, too, that another process works on.

        DVC itself fails at once, or after three seconds. Here it is waited for.
        """
        from dvc.lock import LockError
        from dvc.repo import lock_repo
        from dvc.rwlock import RWLockFileCorruptedError

        known: set[str] = set()
        while True:
            try:
                with self._repo() as repo, lock_repo(repo):
                    return work(repo)
            except (LockError, RWLockFileCorruptedError) as error:
                busy = str(error)
            self.wait(busy, known)


def _read(stage: "PipelineStage", needs: list[str], made: Made) -> Stage:
    from dvc.dependency import ParamsDependency

    name, _, key = str(stage.name).partition("@")
    given = [dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    return Stage(
        name=name,
        key=key,
        command=str(stage.cmd),
        description=stage.desc or "",
        settings=(stage.meta or {}).get("dagster", {}),
        files=tuple(path for path in given if path not in made),
        needs=tuple(needs),
        outs=tuple(out.def_path for out in stage.outs),
        metrics=tuple(out.def_path for out in stage.outs if out.is_metric),
    )


def _version(stage: Any) -> str:
    return "+".join(out.hash_info.value for out in stage.outs)  # committed: each has a digest


def _whole(cache: Any, keep: Iterable[str]) -> set[str]:
    """Digests, and for those of folders that are in the cache the digests of what is in them."""
    found = set(keep)
    for one in list(found):
        if one.endswith(".dir") and (path := Path(cache.oid_to_path(one))).is_file():
            found |= {row["md5"] for row in json.loads(path.read_text(encoding="utf-8"))}
    return found
