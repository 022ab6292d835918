"""dvc.lock with one entry put in: the bytes that DVC itself would have written, or nothing."""

import shutil
from pathlib import Path

import pytest
from small_project import ROOT, run

from dagster_dvc import DvcProject
from dagster_dvc.lockfile import put

TEXT = "schema: '2.0'\nstages:\n  one@a:\n    cmd: x\n  two:\n    cmd: |-\n      y\n\n      z\n"


def test_an_entry_takes_its_place_or_stands_last():
    assert put(TEXT, "  one@a:\n    cmd: new\n") == TEXT.replace("cmd: x", "cmd: new")
    assert put(TEXT, "  two:\n    cmd: new\n") == TEXT.partition("    cmd: |-")[0] + "    cmd: new\n"
    assert put(TEXT, "  one@b:\n    cmd: new\n") == TEXT + "  one@b:\n    cmd: new\n"


@pytest.mark.parametrize(
    "text",
    [
        "", "stages:\n  one@a:\n    cmd: x\n", TEXT + "datasets: []\n", TEXT.removesuffix("\n"),
        TEXT.replace("'2.0'", "2.0"), TEXT.replace("    cmd: x", "\tcmd: x"), "<<<<<<< ours\n" + TEXT,
        TEXT.replace("  two", "=======\n  two"),
    ],
)  # fmt: skip
def test_a_file_that_dvc_has_not_written_like_that_is_left_to_dvc(text):
    assert put(text, "  one@a:\n    cmd: new\n") is None


@pytest.mark.slow
def test_what_is_recorded_is_what_dvc_commit_records(tmp_path):
    root = tmp_path / "example"
    shutil.copytree(ROOT / "dagster_dvc/example", root, ignore=shutil.ignore_patterns("__pycache__"))
    run("git", "init", "-q", ".", cwd=root)
    run("dvc", "init", "-q", cwd=root)
    run("dvc", "repro", "-q", cwd=root)
    project, lock, made = DvcProject(root=str(root)), root / "dvc.lock", (root / "dvc.lock").read_text()
    targets = list(project.stages())
    assert len(targets) > 2
    for target in targets:
        for changed in (made, made.replace("size: ", "size: 1"), _without(made, target)):
            lock.write_text(changed)
            version = project.commit(target)
            ours = lock.read_text()
            lock.write_text(changed)
            project._locked(lambda repo, target=target: repo.commit(target, force=True))
            assert ours == lock.read_text(), target
            assert version == project.made(target)
    assert [path.name for path in Path(root).glob(".dvc.lock*")] == []


def _without(text: str, target: str) -> str:
    head, _, rest = text.partition(f"  {target}:\n")
    lines = rest.splitlines(keepends=True)
    after = next((number for number, line in enumerate(lines) if not line.startswith("   ")), len(lines))
    return head + "".join(lines[after:])
