"""What `make setup` and `make test` are made of: a broken installation is named, every process of tests counts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import run_all

ROOT = Path(__file__).parents[1]
TWO_GROUPS = {"first": "not slow", "second": "slow"}


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def test_a_build_of_torch_that_does_not_exist_is_one_line():
    done = python(str(ROOT / "deploy/install_torch.py"), TORCH_BUILD="rocm")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "TORCH_BUILD: 'rocm'" in done.stderr and "cpu or cuda" in done.stderr


@pytest.mark.slow
def test_a_torch_that_works_is_left_alone():
    import torch

    done = python(str(ROOT / "deploy/install_torch.py"), torch.__version__.partition("+")[0], TORCH_BUILD="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_package_that_is_installed_but_does_not_load_is_named_with_the_remedy(tmp_path):
    (tmp_path / "torch.py").write_text("import ctypes\nctypes.CDLL('libcudnn-of-nobody.so.9')\n")
    done = python(str(ROOT / "deploy/check_install.py"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("torch: ") and "make setup again" in done.stderr
    assert "libcudnn-of-nobody.so.9: cannot open shared object file" in done.stderr


def project(root: Path, first: str, second: str) -> Path:
    """With one test in each of TWO_GROUPS, whose bodies are given."""
    (root / "pytest.ini").write_text("[pytest]\naddopts = -ra\nmarkers =\n    slow: slow\n")
    (root / "test_groups.py").write_text(
        f"import pathlib, time, pytest\n\ndef test_quick():\n    {first}\n\n"
        f"@pytest.mark.slow\ndef test_slow():\n    {second}\n"
    )
    return root


@pytest.mark.slow
def test_all_groups_run_at_once_and_pass(tmp_path, capsys):
    meet = "\n    ".join(
        (
            "pathlib.Path('{0}').touch()",
            "end = time.monotonic() + 100",
            "while not pathlib.Path('{1}').exists(): assert time.monotonic() < end; time.sleep(0.05)",
        )
    )
    root = project(tmp_path, meet.format("a", "b"), meet.format("b", "a"))
    assert run_all.run(root, TWO_GROUPS) == 0
    said = capsys.readouterr().out
    assert "first: passed" in said and "second: passed" in said and said.count("1 passed, 1 deselected") == 2


@pytest.mark.slow
def test_one_groups_failure_is_shown_and_fails_the_whole(tmp_path, capsys):
    root = project(tmp_path, "pass", "assert 'this' == 'that'")
    assert run_all.run(root, TWO_GROUPS) == 1
    said = capsys.readouterr().out
    assert "first: passed" in said and "second: failed (1)" in said
    assert "assert 'this' == 'that'" in said and "FAILED in second" in said


@pytest.mark.slow
def test_a_group_without_tests_fails(tmp_path, capsys):
    root = project(tmp_path, "pass", "pass")
    assert run_all.run(root, {"all": "", "none": "slow and not slow"}) == 1
    assert "none: failed (5)" in capsys.readouterr().out


@pytest.mark.slow
def test_interrupted_it_lets_every_group_clean_up(tmp_path):
    body = "try: pathlib.Path('up-{0}').touch(); time.sleep(300)\n    finally: pathlib.Path('down-{0}').touch()"
    root = project(tmp_path, body.format(1), body.format(2))
    code = f"import pathlib, run_all; raise SystemExit(run_all.main(pathlib.Path({str(root)!r}), {TWO_GROUPS}))"
    whole = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while len(list(root.glob("up-*"))) < 2:
        assert time.monotonic() < deadline and whole.poll() is None
        time.sleep(0.1)
    whole.send_signal(signal.SIGTERM)
    said, _ = whole.communicate(timeout=100)
    assert whole.returncode == 130 and "clean up" in said
    assert len(list(root.glob("down-*"))) == 2
