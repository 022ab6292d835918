"""Folders that cannot be written and disks that are full, on real mounts of a few megabytes."""

import errno
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from small_project import CELL, ROOT, run, small_project

from pipelines.definitions import build_definitions
from vrft_core import storage
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.stages import run_stage
from vrft_core.tasks import load_params


@pytest.fixture
def mount():
    """mount(folder, *options): a small file system there, until the test has ended. Skips where that is not allowed."""
    mounted = []

    def put(folder: Path, size: str = "64m") -> Callable[[str], None]:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "vrft-test", folder], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)

    yield put
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    with pytest.raises(OSError, match="No space"), open(folder / "full", "wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 2**16)


@pytest.fixture
def project(tmp_path) -> Path:
    return small_project(tmp_path / "project")


@pytest.mark.parametrize(
    ("folder", "stage"),
    [
        ("models", "sft"),
        ("reports", "sft"),
        ("runs", "sft"),
        ("models", "policy"),
        ("data", "raw"),
        ("reports", "base_eval"),
    ],
)
def test_a_read_only_folder_is_found_before_a_stage_begins(mount, project, folder, stage):
    params = load_params(project / "params.yaml")
    mount(project / folder)("ro")
    with pytest.raises(InputError) as caught:
        run_stage(stage, Layout(project), params, params.parse_cell(CELL))
    assert str(caught.value) == (
        f"{project / folder}: cannot be written: Read-only file system; mount it for writing, or change its rights"
    )


@pytest.mark.parametrize(("folder", "stage"), [("models", "rft"), ("runs", "rft"), ("reports", "report")])
def test_a_full_folder_is_found_before_a_stage_begins(mount, project, folder, stage):
    params = load_params(project / "params.yaml")
    mount(project / folder, "8m")
    with pytest.raises(InputError, match=r"8 MiB are free, 32 MiB are needed; free some"):
        run_stage(stage, Layout(project), params, params.parse_cell(CELL))
    fill(project / folder)
    with pytest.raises(InputError, match="cannot be written: No space left on device; free some"):
        run_stage(stage, Layout(project), params, params.parse_cell(CELL))


def test_an_evaluation_needs_no_right_to_write_where_models_lie(mount, project):
    params = load_params(project / "params.yaml")
    mount(project / "models")("ro")
    with pytest.raises(InputError) as caught:
        run_stage("rft_eval", Layout(project), params, params.parse_cell(CELL))
    assert "Read-only" not in str(caught.value), "it goes on to the next trouble: no data"


@pytest.mark.parametrize("place", [".dvc/cache", "reports", "."])
@pytest.mark.slow
def test_both_doors_say_so_in_one_line_before_anything_runs(mount, tmp_path, place):
    root = tmp_path / "project"
    if place == ".":
        remount = mount(root)
        small_project(root / "inner")
        root = root / "inner"
    else:
        small_project(root)
        remount = mount(root / place)
    (root / "dagster_home").mkdir()
    shutil.copy(ROOT / "dagster_home/dagster.yaml", root / "dagster_home")
    remount("ro")
    variables = {"VRFT_ROOT": str(root), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in (["vrft", "run", CELL], ["python", "-m", "pipelines.materialize", CELL]):
        said = run(*command, cwd=root, status=2, **variables)
        assert said.count("\n") == 1 and "cannot be written: Read-only file system" in said, said


@pytest.mark.slow
def test_in_dagsters_pages_it_is_the_failure(mount, project):
    mount(project / ".dvc/cache")("ro")
    job = build_definitions(project).resolve_job_def("lvis")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key="mini-1shot-s0", asset_selection=[dg.AssetKey("lvis_raw")],
            raise_on_error=False,
        )  # fmt: skip
    (event,) = (event for event in result.all_events if event.is_step_failure)
    said = event.step_failure_data.user_failure_data.description
    assert said.startswith(f"{project / '.dvc/cache'}: cannot be written: Read-only file system")


def test_a_cache_elsewhere_is_found_in_dvcs_settings(tmp_path, monkeypatch):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n['remote \"store\"']\n    url = x\n")
    assert storage.project_folders(tmp_path)[-1] == tmp_path / ".dvc/cache"
    monkeypatch.chdir(tmp_path)
    assert storage.project_folders(Path("."))[-1] == Path(".dvc/cache")
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    dir = /big/50%disk\n")
    assert storage.project_folders(tmp_path)[-1] == Path("/big/50%disk")


def test_weights_that_find_no_room_are_one_line(mount, tmp_path):
    mount(tmp_path / "small", "1m")
    said = "no space left on the disk; free some space and start again"
    with pytest.raises(InputError, match=said), storage.trouble_named(tmp_path / "small"):
        save_file({"a": torch.zeros(2**20)}, tmp_path / "small/model.safetensors")


def test_a_database_that_cannot_be_written_is_one_line(mount, tmp_path):
    import sqlite3

    remount = mount(tmp_path / "small", "1m")
    store = sqlite3.connect(tmp_path / "small/a.db")
    store.execute("CREATE TABLE t (x)")
    store.commit()
    with pytest.raises(InputError, match="no space left"), storage.trouble_named(tmp_path):
        store.execute("INSERT INTO t VALUES (zeroblob(4000000))")
        store.commit()
    store.close()
    remount("ro")
    store = sqlite3.connect(tmp_path / "small/a.db")
    with pytest.raises(InputError, match="cannot be read or written"), storage.trouble_named(tmp_path):
        store.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left"),
        (SafetensorError("I/O error: Read-only file system (os error 30)"), "cannot be read or written"),
        (PermissionError(errno.EACCES, "Permission denied", "models/x"), "models/x: cannot be read or written"),
    ],
)
def test_other_libraries_words_are_understood(error, said):
    with pytest.raises(InputError, match=said), storage.trouble_named(Path("models")):
        raise RuntimeError("while saving") from error
    with pytest.raises(ZeroDivisionError), storage.trouble_named(Path("models")):
        raise ZeroDivisionError


def test_full_weights_need_room_for_two_checkpoints_with_their_optimizer(tmp_path):
    save_file({"a": torch.zeros(1000, dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    assert storage.training_need(tmp_path, adapter=True) == storage.LITTLE
    size = (tmp_path / "model.safetensors").stat().st_size
    assert storage.training_need(tmp_path, adapter=False) == storage.LITTLE + 14 * size
