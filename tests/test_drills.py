"""Deaths, damage and clocks that run backwards: nothing is lost, nothing doubled, and a rerun gives the same bytes."""

import functools
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import data_by_dagster
import pytest
from own_processes import ended, free_port, in_own_process
from small_policy import small_recipe, taught_policy
from small_project import CELL, ROOT, edit_params, run, small_project

from vrft_core import cli
from vrft_core.cell import Cell, Layout
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.record import ROLLOUTS

pytestmark = pytest.mark.slow
CELL_ = Cell("mini", "lvis", 1, 0, "embedded")
WEIGHTS = "adapter_model.safetensors"
ASKED = "asked"  # a line for each batch of questions that a process was given


def _stage(
    root: Path, name: str, kill: tuple[str, str, int] | None, rank: int = 0, count: int = 1, port: int = 0, said=None
):
    """`vrft stage` in a process of its own; `kill` = (class or module, function, which call) ends it by SIGKILL.

    `said`: the end of a pipe that it prints errors to.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if said:
        os.dup2(said.fileno(), 2)
    if count > 1:
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in told.items()} | {"MASTER_ADDR": "127.0.0.1"}
    if kill:
        place, function, number = kill
        _watch(place, function, lambda call: call == number and os.kill(os.getpid(), signal.SIGKILL))
    _watch("vrft_core.evaluation.predict", "_ask", lambda call: _append(root / ASKED, "x"))
    raise SystemExit(cli.main(["--root", str(root), "stage", name, "--cell", CELL]))


def _watch(place: str, name: str, seen: Callable[[int], object]) -> None:
    """Call `seen` with the number of each call of a function or method before it is made."""
    module, _, owner = place.rpartition(".")
    owner = getattr(importlib.import_module(module), owner)
    whole, calls = getattr(owner, name), []

    @functools.wraps(whole)
    def watched(*args, **kwargs):
        calls.append(1)
        seen(len(calls))
        return whole(*args, **kwargs)

    setattr(owner, name, watched)


def _append(path: Path, line: str) -> None:
    with open(path, "a") as file:
        file.write(f"{line}\n")


start = partial(in_own_process, _stage)


def ready(root: Path, data: bool = False) -> Layout:
    """A project with a policy that has learned to answer; with its real data, or with examples to train on alone."""
    small_project(root)
    recipe, layout = small_recipe().model_dump(mode="json"), Layout(root)
    edit_params(root, lambda params: params["recipes"]["mini"].update(
        {name: recipe[name] for name in ("threads", "adapter", "sft", "rft", "evaluation")}))  # fmt: skip
    if data:
        run("vrft", "stage", "raw", "--cell", CELL, cwd=root)
    taught_policy(layout.policy(CELL_), layout.prompts(CELL_))
    return layout


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Layout:
    return ready(tmp_path_factory.mktemp("evaluation") / "project", data=True)


def asked(layout: Layout) -> int:
    return len((layout.root / ASKED).read_text().split())


def test_an_evaluation_killed_twice_asks_nothing_again_and_ends_in_the_same_bytes(evaluated):
    found = evaluated.evaluation(CELL_, "base")
    assert ended(start(evaluated.root, "base_eval", None)) == [0]
    whole, once = {path.name: path.read_bytes() for path in found.iterdir()}, asked(evaluated)
    assert once > 4 and len(whole) == 3
    shutil.rmtree(found)
    (evaluated.root / ASKED).unlink()

    kill = ("vrft_core.evaluation.predict", "_ask", 3)
    for _ in range(2):
        assert ended(start(evaluated.root, "base_eval", kill)) == [-signal.SIGKILL]
        assert not found.exists(), "nothing half-written where DVC would look"
    assert ended(start(evaluated.root, "base_eval", None)) == [0]
    assert asked(evaluated) == once + 2, "only the batches that were at hand are asked again"
    assert {path.name: path.read_bytes() for path in found.iterdir()} == whole


def flip(path: Path) -> None:
    """One bit in the middle, and the times of the file as before: as a disk does it."""
    about, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(about.st_mode & 0o777)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_a_flipped_bit_in_weights_or_data_is_refused_with_the_way_to_make_them_again(evaluated, tmp_path):
    shutil.copytree(evaluated.root, tmp_path / "project")
    layout = Layout(tmp_path / "project")
    said = run("vrft", "stage", "few_shot", "--cell", CELL, cwd=layout.root)
    assert "damaged" not in said
    flip(layout.raw(CELL_) / "annotations.json")
    said = run("vrft", "stage", "few_shot", "--cell", CELL, cwd=layout.root, status=2)
    assert said.count("\n") == 1 and "data/raw/lvis-embedded: its bytes are neither those that dvc.lock records" in said
    remedy = said.partition("make it again: ")[2].strip()
    run("sh", "-c", remedy, cwd=layout.root)
    run("vrft", "stage", "few_shot", "--cell", CELL, cwd=layout.root)


def test_what_dvcs_cache_brings_damaged_is_refused_and_made_again(tmp_path):
    """DVC itself says of it: up to date."""
    root = small_project(tmp_path / "project")
    layout = Layout(root)
    run("dvc", "repro", "-q", f"few_shot@{CELL}", cwd=root)
    page = layout.raw(CELL_) / "annotations.json"
    good, kept = page.read_bytes(), layout.few_shot(CELL_)
    (entry,) = (path for path in (root / ".dvc/cache/files/md5").glob("*/*") if path.read_bytes() == good)
    flip(entry)
    shutil.rmtree(root / "runs")  # as in a clone
    shutil.rmtree(layout.raw(CELL_))
    shutil.rmtree(kept)
    run("dvc", "repro", "-q", "raw@lvis-embedded", cwd=root)
    assert page.read_bytes() != good

    said = run("vrft", "stage", "few_shot", "--cell", CELL, cwd=root, status=2)
    assert "neither those that dvc.lock records" in said
    run("sh", "-c", said.partition("make it again: ")[2].strip(), cwd=root)
    assert page.read_bytes() == good
    run("vrft", "stage", "few_shot", "--cell", CELL, cwd=root)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Layout, Layout]:
    """Two equal projects; one has trained in peace."""
    layouts = [ready(tmp_path_factory.mktemp("training") / name) for name in ("whole", "broken")]
    assert ended(start(layouts[0].root, "rft", None)) == [0]
    return layouts[0], layouts[1]


def fresh(layout: Layout) -> Path:
    """Forget what was trained; the folder of the next training."""
    for folder in (layout.runs(CELL_, "rft"), layout.model(CELL_, "rft")):
        shutil.rmtree(folder, ignore_errors=True)
    return layout.runs(CELL_, "rft")


def same(one: Layout, other: Layout) -> bool:
    weights = [(layout.model(CELL_, "rft") / WEIGHTS).read_bytes() for layout in (one, other)]
    rows = [(layout.runs(CELL_, "rft") / ROLLOUTS).read_bytes() for layout in (one, other)]
    return weights[0] == weights[1] and rows[0] == rows[1] and rows[0].count(b"\n") == 4 * 8


def test_told_to_end_by_the_death_of_its_orchestrator_and_killed_ten_seconds_later_it_goes_on(trained):
    """Whoever read its lines is gone, too."""
    whole, broken = trained
    folder = fresh(broken)
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = start(broken.root, "rft", None, said=writer)
    writer.close()
    deadline = time.monotonic() + 200
    while not (folder / ROLLOUTS).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    reader.close()
    process.terminate()
    process.join(10)
    process.kill()
    (status,) = ended(process)
    assert status in (-signal.SIGTERM, -signal.SIGKILL), "not by an error"
    if status == -signal.SIGTERM:
        assert complete_checkpoints(folder), "it had the time to seal one"
    assert ended(start(broken.root, "rft", None)) == [0]
    assert same(whole, broken)


@pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed: apt-get install faketime")
def test_a_clock_that_was_set_back_a_day_changes_nothing(trained):
    whole, broken = trained
    folder = fresh(broken)
    assert ended(start(broken.root, "rft", ("transformers.Trainer", "training_step", 3))) == [-signal.SIGKILL]
    assert [step for step, *_ in complete_checkpoints(folder)] == [2]
    command = ["faketime", "-f", "-1d", sys.executable, "-m", "vrft_core.cli", "stage", "rft", "--cell", CELL]
    variables = {"PYTHONPATH": str(ROOT), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
    run(*command, cwd=broken.root, **variables)
    assert same(whole, broken)


def test_one_of_two_processes_killed_ends_both_and_the_rest_is_as_if_it_had_not_been(tmp_path_factory):
    whole, broken = (ready(tmp_path_factory.mktemp("two") / name) for name in ("whole", "broken"))
    for layout in (whole, broken):
        edit_params(layout.root, lambda params: params["recipes"]["mini"]["sft"].update(batch_size=2))

    def both(layout: Layout, kill: tuple | None) -> list[int | None]:
        port = free_port()
        return ended(*(start(layout.root, "sft", kill if rank else None, rank, 2, port) for rank in (0, 1)))

    assert both(whole, None) == [0, 0]
    first, second = both(broken, ("transformers.Trainer", "training_step", 3))
    assert second == -signal.SIGKILL and first not in (0, None), "the other does not wait for ever"
    assert [step for step, *_ in complete_checkpoints(broken.runs(CELL_, "sft"))] == [2]
    assert both(broken, None) == [0, 0]

    weights = [(layout.model(CELL_, "sft") / WEIGHTS).read_bytes() for layout in (whole, broken)]
    assert weights[0] == weights[1]
    curves = [json.loads(layout.training(CELL_, "sft").read_text())["log"] for layout in (whole, broken)]
    assert [row["loss"] for row in curves[0]] == [row["loss"] for row in curves[1]] and len(curves[0]) == 4


def test_dvc_repro_beside_a_dagster_run_loses_nothing_and_ends_in_the_same_bytes_when_repeated(tmp_path):
    """DVC waits for nobody: it may give up, or remove what Dagster has just made. Repeated, all is well."""
    root = small_project(tmp_path / "project")
    whole = small_project(tmp_path / "whole")
    said = root / "said"
    with open(said, "w") as file:
        dagster = data_by_dagster.start(root, "mini-1shot-s0", file)
    deadline = time.monotonic() + 200
    while "vrft stage raw" not in said.read_text():
        assert time.monotonic() < deadline and dagster.poll() is None, said.read_text()
        time.sleep(0.05)
    repro = ["dvc", "repro", f"prompts@{CELL}"]
    environment = data_by_dagster.environment()
    beside = subprocess.run(repro, cwd=root, env=environment, text=True, capture_output=True, timeout=300)
    if dagster.wait(300):
        assert "output 'data/" in said.read_text() and "does not exist" in said.read_text(), said.read_text()
    if beside.returncode:
        assert any(word in beside.stderr for word in ("lock", "busy", "does not exist")), beside.stderr
    run(*repro, cwd=root)
    assert "Running" not in run(*repro, cwd=root), "all of it is done"

    run("dvc", "repro", "-q", f"prompts@{CELL}", cwd=whole)
    files = [{p.relative_to(r): p.read_bytes() for p in (r / "data").rglob("*") if p.is_file()} for r in (root, whole)]
    assert files[0] == files[1]
