"""What a disk may do to a run folder: sealed checkpoints that are cut short or altered, torn lines."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file
from small_policy import small_recipe, taught_policy

from vrft_core import io
from vrft_core.evaluation.predict import _answered
from vrft_core.policy.optimizer import Optimizer
from vrft_core.policy.unfinished import Unfinished, load
from vrft_core.tasks import get_task
from vrft_core.training import rft, sft
from vrft_core.training.checkpoints import MARKER, complete_checkpoints, write_marker
from vrft_core.training.loop import keep, train
from vrft_core.training.record import ROLLOUTS

pytestmark = pytest.mark.slow

TASK = get_task("detection")
MAKERS = {"sft": sft.make_trainer, "rft": rft.make_trainer}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("damage")
    taught_policy(root / "models/mini/policy", root / "prompts")
    return root


def trained(project: Path, run: Path, method: str) -> bytes:
    """Train in `run`, from whatever is there, to the end; returns the kept weights."""
    recipe, policy = small_recipe(), project / "models/mini/policy"
    settings = getattr(recipe, method)
    record = train(
        MAKERS[method](recipe, TASK, run, 0), settings, recipe, TASK,
        policy=policy, prompts=project / "prompts", run=run, seed=0, what=method, log=lambda *_: None,
    )  # fmt: skip
    keep(run, record, settings.checkpoint, policy, run / "kept")
    return (run / "kept/adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module", params=MAKERS)
def whole(request, project, tmp_path_factory) -> tuple[str, Path, bytes]:
    """(method, run folder, weights) of a training that came to its end: checkpoints 2 and 4, or 4 alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    run.mkdir()
    return request.param, run, trained(project, run, request.param)


def copy(run: Path, to: Path) -> tuple[Path, Path]:
    """(a copy of the run, its last checkpoint)"""
    shutil.copytree(run, to)
    return to, complete_checkpoints(to)[-1][1]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "name", "said"),
    [
        (cut, "adapter_model.safetensors", "bytes"),
        (flip, "adapter_model.safetensors", "is not as it was written"),
        (cut, "optimizer.pt", "bytes"),
        (Path.unlink, "scheduler.pt", "is missing"),
        (cut, MARKER, "cannot be read"),
        (lambda path: path.write_text("{}"), MARKER, "does not say what its files are"),
    ],
)
def test_a_damaged_checkpoint_costs_one_line_and_the_result_is_the_same(
    whole, project, tmp_path, capfd, damage, name, said
):
    method, run, weights = whole
    run, last = copy(run, tmp_path / "run")
    damage(last / name)
    capfd.readouterr()
    assert trained(project, run, method) == weights
    lines = [line for line in capfd.readouterr().err.splitlines() if "damaged" in line]
    assert len(lines) == 1 and f"checkpoint-4: is damaged: {name}" in lines[0] and said in lines[0]
    assert "it is removed; training resumes from an older one, or starts again" in lines[0]


def test_all_checkpoints_damaged_is_a_start_from_zero(whole, project, tmp_path):
    method, run, weights = whole
    run, _ = copy(run, tmp_path / "run")
    for _, checkpoint, _ in complete_checkpoints(run):
        cut(checkpoint / "adapter_model.safetensors")
    assert trained(project, run, method) == weights


def test_where_the_best_is_lost_the_one_after_it_is_not_continued(project, whole, tmp_path, capfd):
    """It would end with another choice than a run that was left in peace."""
    method, run, weights = whole
    run, last = copy(run, tmp_path / "run")
    seal = json.loads((last / MARKER).read_text())
    seal["content"]["validation"][1]["score"] = 2.0  # step 2's, the best by far
    (last / MARKER).write_text(json.dumps(seal))
    shutil.rmtree(run / "checkpoint-2", ignore_errors=True)
    assert trained(project, run, method) == weights
    assert "checkpoint-2, the best so far, is lost" in capfd.readouterr().err


def test_torn_rollouts_are_left_out_with_a_line(whole, project, tmp_path, capfd):
    method, run, weights = whole
    if method != "rft":
        pytest.skip("only GRPO has rollouts")
    run, last = copy(run, tmp_path / "run")
    lines = (run / ROLLOUTS).read_text().splitlines(keepends=True)
    lines[1], lines[2], lines[3] = "\0" * 40 + "\n", '{"step": 1, "exam\n', '"\udcff"\n'
    (run / ROLLOUTS).write_text("".join(lines), errors="surrogateescape")
    shutil.rmtree(last)
    if not (run / "checkpoint-2").exists():
        shutil.copytree(whole[1] / "checkpoint-4", run / "checkpoint-3")  # something to go on from
        content = complete_checkpoints(whole[1])[-1][2]
        content["validation"] = content["validation"][:1]
        write_marker(run / "checkpoint-3", content)
        rft._rewind(run)
    else:
        assert trained(project, run, method) == weights
    assert f"{run / ROLLOUTS}: 3 of {len(lines)} lines are damaged; they are left out" in capfd.readouterr().err
    assert all(json.loads(line)["step"] for line in (run / ROLLOUTS).read_text().splitlines())


def test_a_seal_names_every_file_with_its_size_and_digest(whole):
    _, run, _ = whole
    _, checkpoint, content = complete_checkpoints(run)[-1]
    files = json.loads((checkpoint / MARKER).read_text())["files"]
    assert set(files) == {path.name for path in checkpoint.iterdir()} - {MARKER}
    assert files["optimizer.pt"] == [
        (checkpoint / "optimizer.pt").stat().st_size,
        io.sha256(checkpoint / "optimizer.pt"),
    ]
    assert [row["step"] for row in content["log"]] == [1, 2, 3, 4]


def test_phase_a_of_the_pre_training_that_is_damaged_is_made_anew(tmp_path, capsys):
    import torch

    path = tmp_path / "vision.safetensors"
    save_file({"a": torch.zeros(1000)}, path)
    assert set(load(path)) == {"a"}
    cut(path)
    assert load(path) == {}
    assert "is damaged" in capsys.readouterr().err
    assert load(tmp_path / "none") == {}


def test_a_phase_of_another_model_is_begun_anew_with_a_line_and_nothing_of_it_is_taken(tmp_path, capsys):
    import torch

    named = {"a": torch.nn.Parameter(torch.ones(2)), "m": torch.nn.Parameter(torch.ones(2, 2))}
    kept = {"trained.a": torch.zeros(2), "trained.m": torch.zeros(2, 3), "step": torch.tensor(7)}
    save_file(kept, tmp_path / "x.safetensors")
    optimizer = Optimizer(named.items(), 1e-3, 1e-3, steps=9)
    assert Unfinished(tmp_path / "x.safetensors", named, optimizer, steps=9).resume() == 0
    assert "is of another model; it is made again" in capsys.readouterr().err
    assert all(bool((value == 1).all()) for value in named.values())


def test_answers_that_are_damaged_are_asked_again(tmp_path, capsys):
    kept = tmp_path / "answers.jsonl"
    kept.write_bytes(b'[[0, {"a": 1}]]\n\0\0\0\0\n[[1, {"a\n[[2, {"a": 3}]]\n[[3, {"a"')
    assert _answered(kept) == {0: {"a": 1}, 2: {"a": 3}}
    assert "2 damaged lines" in capsys.readouterr().err
    assert kept.read_text() == '[[0, {"a": 1}]]\n[[2, {"a": 3}]]\n'


@pytest.mark.parametrize("files", [3, io.FEW + 1])
def test_nothing_gets_its_name_before_the_disk_has_it(tmp_path, monkeypatch, files):
    """A directory's files, it, its entry; many files at once by one call for the whole file system."""
    done: list[str] = []
    real_fsync, real_replace, real_all = os.fsync, os.replace, io._flush_file_system

    def fsync(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        real_fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_replace(a, b)))
    monkeypatch.setattr(io, "_flush_file_system", lambda path: (done.append("all"), real_all(path)))
    with io.new_directory(tmp_path / "out") as directory:
        for number in range(files):
            (directory / f"f{number}").write_text("x")
    assert done[-2:] == ["rename", tmp_path.name]
    before = done[:-2]
    assert before == ["all"] if files > io.FEW else {"f0", "f1", "f2", directory.name} == set(before)
    done.clear()
    io.write_text(tmp_path / "a.txt", "x")
    assert [name.partition(".a.txt.")[0] for name in done] == ["", "rename", tmp_path.name]


def test_a_file_system_that_cannot_flush_directories_is_no_obstacle(tmp_path, monkeypatch):
    def cannot(handle: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", cannot)
    io.write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"
