"""`vrft run`: bring one cell (or a study over seeds) up to date and say what came out.

`dvc repro` decides what is stale and runs `vrft stage …`; here its output becomes a line a stage. Where DVC is not
installed, `run_without_dvc` takes its place.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from vrft_core import warm
from vrft_core.cell import Cell, Layout
from vrft_core.commands.checkups.parameters import refuse
from vrft_core.commands.new import link_code
from vrft_core.commands.run_without_dvc import reproduce
from vrft_core.commands.telling import Narrator, ahead
from vrft_core.commands.termination import Termination, heeded
from vrft_core.errors import InputError
from vrft_core.locks import DVC_IS_BUSY, wait_for_dvc
from vrft_core.params import Params
from vrft_core.storage import project_folders, refuse_unwritable

_SAID = (
    (re.compile(r"Running stage '(.+)'"), "running"),
    (re.compile(r"Stage '(.+)' didn't change"), "cached"),
    (re.compile(r"Stage '(.+)' is cached"), "cached, files restored"),
)


def run(layout: Layout, params: Params, cell: Cell) -> Path:
    """Reproduce the report of a cell or study, and what a study is compared with; returns the folder of its report.

    Raises InputError for a wider scope, for a reward that does not exist and for a user's files that have changed, and
    SystemExit with the stage's own exit status when a stage fails: it has said why. SystemExit with 143 after SIGTERM.
    """
    if cell.scope not in ("cell", "study"):
        raise InputError(cell.key, f"is a {cell.scope}, and a cell or a study can be run", "add shots, and a seed")
    refuse(params, cell, layout.root)
    refuse_unwritable(project_folders(layout.root))
    link_code(layout.root)
    targets = [f"{'report' if cell.scope == 'cell' else 'study'}@{cell.key}"]
    targets += [f"comparison@{cell.key}"] if cell.scope == "study" and params.compared(cell) else []
    known: set[str] = set()
    narrator = Narrator()
    for line in ahead(layout, params, cell):
        narrator.line(line)
    with heeded() as termination, warm.kept() as variables:
        if find_spec("dvc") is None:
            status = reproduce(layout.root, targets, narrator, variables, termination)
        else:
            while (status := _repro(layout.root, targets, known, narrator, variables, termination)) is None:
                pass  # another process held a lock of DVC's, and has released it
    if status:
        raise SystemExit(status)
    return layout.report(cell)


def _repro(
    root: Path,
    targets: list[str],
    known: set[str],
    narrator: Narrator,
    variables: dict[str, str],
    termination: Termination,
) -> int | None:
    """Run `dvc repro`, translating what it prints; 0, or the failed stage's exit status.

    None where another process works on the same files, after waiting for it; `known`: as in `wait_for_dvc`. Raises
    SystemExit when it was told to end.
    """
    binaries = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONUNBUFFERED": "1",
        **narrator.environment(),
        **variables,
    }
    command = [sys.executable, "-m", "dvc", "repro", *targets]

    def start() -> subprocess.Popen:
        return subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )

    errors: list[str] = []
    with termination.of(start, by_dvc=True) as process:
        assert process.stdout  # piped
        reader = Thread(target=_pass_on, args=(process.stderr, errors, narrator, termination))
        reader.start()
        try:
            for line in process.stdout:
                for pattern, word in _SAID:
                    if match := pattern.search(line):
                        narrator.start(match[1]) if word == "running" else narrator.skip(match[1], word)
        except KeyboardInterrupt:
            process.wait()
            narrator.close("interrupted")
            raise
        reader.join()
        failed, said = bool(process.wait()), "".join(errors)
    if failed and termination.noted:
        narrator.close("interrupted")
        termination.end()
    exited = re.search(r"exited with (\d+)", said)
    busy = failed and not exited and DVC_IS_BUSY.search(said)
    if not busy:
        narrator.close("failed" if failed else "done")
    else:  # another process works on what the next stage needs; or it had the repository, and nothing was recorded
        narrator.close("done" if "is being blocked by" in said else "interrupted")
    if not failed:
        return 0
    if busy:
        wait_for_dvc(root, said, known)
        return None
    if not exited:
        print(said, end="", file=sys.stderr)
    return int(exited[1]) if exited else 1


def _pass_on(stream, errors: list[str], narrator: Narrator, termination: Termination) -> None:
    """Stages' own lines go on as they come; DVC's closing words are kept back."""
    for line in stream:
        if errors or line.startswith("ERROR:") or (termination.noted and line.startswith("Traceback")):
            errors.append(line)
        else:
            narrator.line(line.rstrip("\n"))
