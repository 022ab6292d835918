"""`vrft run` without DVC: what a stage reads is not made anew meanwhile. Locks that are only looked at block nobody."""

import threading
from pathlib import Path

import pytest
import yaml

from vrft_core.commands.run_without_dvc import PLACE, reproduce
from vrft_core.commands.telling import Narrator
from vrft_core.errors import InputError
from vrft_core.locks import alone_or_not, exclusive, is_held, together

GRAPH = """
stages:
  first:
    foreach: ${grid.names}
    do: {cmd: vrft --version, outs: ["made/${item}"]}
  second:
    foreach: ${grid.names}
    do: {cmd: vrft --version, deps: ["made/${item}/part"], outs: ["seen/${item}"]}
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """A project whose first stage is done."""
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"grid": {"names": ["a"]}}))
    (tmp_path / "made/a/part").mkdir(parents=True)
    md5 = {"path": "made/a", "md5": "d751713988987e9331980363e24189ce.dir"}  # of an empty list of files
    entry = {"cmd": "vrft --version", "outs": [md5]}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"first@a": entry}}))
    return tmp_path


def lock(root: Path, target: str) -> Path:
    return root / PLACE / f"{target}.lock"


class Looks(Narrator):
    """Notes which locks others could have while a stage runs."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root, self.seen = root, {}

    def start(self, stage: str) -> None:
        for target in ("first@a", "second@a"):
            with alone_or_not(lock(self.root, target)) as alone:
                self.seen[target, "made anew"] = alone
        with together(lock(self.root, "first@a"), "another reader"):
            self.seen["first@a", "read"] = True
        super().start(stage)


def test_while_a_stage_runs_others_may_read_what_it_reads_and_nobody_makes_it_anew(root):
    narrator = Looks(root)
    with pytest.raises(InputError, match="seen/a: is missing"):  # this command makes nothing
        reproduce(root, ["second@a"], narrator)
    assert narrator.seen == {
        ("first@a", "made anew"): False, ("second@a", "made anew"): False, ("first@a", "read"): True,
    }  # fmt: skip
    for target in ("first@a", "second@a"):
        assert not is_held(lock(root, target))


def test_a_stage_waits_for_who_makes_anew_what_it_reads(root, capfd):
    narrator = Looks(root)
    free, began = threading.Event(), threading.Event()

    def make_anew() -> None:
        with exclusive(lock(root, "first@a"), "first@a"):
            began.set()
            free.wait(60)

    maker = threading.Thread(target=make_anew)
    maker.start()
    assert began.wait(60)
    waited = []

    def wait_for_the_line() -> None:
        while "first@a: waiting for" not in (said := capfd.readouterr().err) and len(waited) < 600:
            waited.append(said)
            threading.Event().wait(0.1)
        waited.append(dict(narrator.seen))
        free.set()

    watcher = threading.Thread(target=wait_for_the_line)
    watcher.start()
    with pytest.raises(InputError, match="seen/a: is missing"):
        reproduce(root, ["second@a"], narrator)
    watcher.join()
    maker.join()
    assert waited[-1] == {} and narrator.seen


def test_one_who_only_looks_makes_nobody_fail(tmp_path):
    path, ended = tmp_path / "a.lock", threading.Event()
    path.touch()

    def look() -> None:
        while not ended.is_set():
            is_held(path)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            with alone_or_not(path) as alone:
                assert alone
    finally:
        ended.set()
        watcher.join()
