"""What `dvc repro` does for `vrft run`, where DVC is not installed: the stages that are stale, one after another.

`graph` says what is stale; outs are kept in no cache. With DVC later, `dvc commit` puts them there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vrft_core.commands.telling import Narrator
from vrft_core.commands.termination import Termination
from vrft_core.graph import entry, holds, in_order, makers, record, recorded, stages
from vrft_core.locks import exclusive, together

PLACE = ".dvc/tmp/vrft"  # Dagster's side locks a stage there, too


def reproduce(
    root: Path,
    targets: list[str],
    narrator: Narrator,
    variables: Mapping[str, str] | None = None,
    termination: Termination | None = None,
) -> int:
    """Bring stages up to date with all they need; 0, or the exit status of the stage that failed.

    `variables`: for the environment of each stage. Raises SystemExit when it was told to end.
    """
    termination = termination or Termination()
    known = stages(root)
    for stage in dict.fromkeys(one for target in targets for one in in_order(known, target)):
        with _locked(root, stage.target, makers(known, stage)):
            if holds(root, stage, recorded(root).get(stage.target)):
                narrator.skip(stage.target, "cached")
                continue
            needed = entry(root, stage, outs=False)  # before it runs: what is edited meanwhile makes it stale again
            for out in stage.outs:
                _remove(root / out)
            narrator.start(stage.target)
            if status := _run(root, stage.command, narrator, variables or {}, termination):
                return status
            with exclusive(root / PLACE / "record.lock", "dvc.lock"):
                record(root, stage.target, needed | {"outs": entry(root, stage)["outs"]})
    return 0


@contextmanager
def _locked(root: Path, target: str, needed: Iterable[str]) -> Iterator[None]:
    """Nobody else makes the target meanwhile, or what it reads: others may read that too.

    Who waits here holds only what is made of what it waits for, so that no two wait for each other.
    """
    with ExitStack() as held:
        held.enter_context(exclusive(root / PLACE / f"{target}.lock", target))
        for one in needed:
            held.enter_context(together(root / PLACE / f"{one}.lock", one))
        yield


def _run(root: Path, command: str, narrator: Narrator, variables: Mapping[str, str], termination: Termination) -> int:
    program, *arguments = command.split()
    assert program == "vrft", "dvc.yaml runs nothing else"
    environment = os.environ | {"PYTHONUNBUFFERED": "1", **narrator.environment(), **variables}

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "vrft_core.cli", *arguments], cwd=root, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
        )  # fmt: skip

    with termination.of(start) as process:
        assert process.stdout  # piped
        try:
            for line in process.stdout:
                narrator.line(line.rstrip("\n"))
        except KeyboardInterrupt:
            process.wait()
            narrator.close("interrupted")
            raise
        status = process.wait()
    if status and termination.noted:
        narrator.close("interrupted")
        termination.end()
    narrator.close("failed" if status else "done")
    return status


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
