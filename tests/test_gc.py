"""`vrft gc`: what nothing needs and nobody touched goes; what a model, a baseline or the grid needs stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from small_project import CELL, run, small_project

from dagster_dvc import DvcProject
from vrft_core import io, provenance, registry, tracking
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.gc import gc
from vrft_core.disk import bytes_in
from vrft_core.errors import InputError
from vrft_core.locks import alone_or_not, together
from vrft_core.retention import Needed, of_baselines, of_grid, old_files
from vrft_core.stages import lock_file, project_lock
from vrft_core.tasks import load_params

LONG_AGO = 1_700_000_000


def put(path: Path, text: str = "x", old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if old:
        for one in (path, path.parent):
            os.utime(one, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def layout(tmp_path) -> Layout:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_bytes((Path(__file__).parents[1] / "params.yaml").read_bytes())
    return Layout(root)


def names(layout: Layout) -> dict[str, str]:
    needed = Needed(cells=of_grid(load_params(layout.root / "params.yaml")))
    of_baselines(layout, needed)
    return {one.name: one.why for one in old_files(layout, needed, LONG_AGO + 1)}


def test_run_folders_moved_aside_and_of_cells_that_left_go_and_those_that_are_continued_stay(layout):
    runs = layout.root / "runs"
    put(runs / CELL / "rft/checkpoint-20/complete.json")
    put(runs / CELL / "rft/rollouts.jsonl")
    put(runs / CELL / "rft-0123456789ab/checkpoint-20/weights")
    os.utime(runs / CELL / "rft-0123456789ab", (LONG_AGO, LONG_AGO))
    put(runs / CELL / "sft-0123456789ab.1/weights", old=False)
    put(runs / "lvis-mini-64shot-s0/rft/weights")
    put(runs / "mini/policy/vision.safetensors")
    put(runs / "golden-abc/sft/checkpoint-1/weights")
    for leftover in ("tracking/waiting.jsonl", "jobs/vrft-rft/1/job.sh", "a-persons-own/file"):
        put(runs / leftover)
    for folder in (CELL, "lvis-mini-64shot-s0", "mini"):
        put(runs / folder / "rft.lock")
    for folder in runs.glob("*/"):
        os.utime(folder, (LONG_AGO, LONG_AGO))
    os.utime(runs / "golden-abc/sft", (LONG_AGO, LONG_AGO))
    assert names(layout) == {
        f"runs/{CELL}/rft-0123456789ab": "of other settings or data",
        "runs/golden-abc": "left by a process that was killed",
        "runs/lvis-mini-64shot-s0": "no longer in the grid",
    }


def test_rollouts_go_when_the_training_has_finished(layout):
    put(layout.root / "runs" / CELL / "rft/rollouts.jsonl")
    put(layout.root / "runs" / CELL / "rft.lock")
    io.write_json(layout.root / "runs" / CELL / "rft.outcome.json", {"error": "disk full", "at": 0})
    assert names(layout) == {}
    io.write_json(layout.root / "runs" / CELL / "rft.outcome.json", {"seconds": 3})
    assert names(layout) == {f"runs/{CELL}/rft/rollouts.jsonl": "of a finished training"}
    put(layout.root / "runs/tracking/waits.jsonl")  # MLflow may have no copy of them
    assert names(layout) == {}


def test_the_runs_of_a_cell_with_a_baseline_stay_when_it_leaves_the_grid(layout):
    put(layout.root / "runs/lvis-mini-64shot-s0/rft/weights")
    put(layout.root / "runs/lvis-mini-64shot-s0/rft.lock")
    assert names(layout) == {"runs/lvis-mini-64shot-s0": "no longer in the grid"}
    io.write_json(layout.root / "baselines/lvis-mini-64shot-s0/about.json", {"model": "a.dir"})
    assert names(layout) == {}


def test_a_baseline_that_cannot_be_read_stops_it(layout):
    put(layout.root / "baselines" / CELL / "about.json", "{")
    with pytest.raises(InputError, match=r"about\.json: not valid JSON"):
        gc(layout, load_params(layout.root / "params.yaml"), 0, remove=False)


def test_nothing_is_removed_beside_a_running_stage_and_the_line_names_it(layout, capsys):
    old = put(layout.root / "runs/lvis-mini-64shot-s0/rft/weights")
    params = load_params(layout.root / "params.yaml")
    lock = lock_file(layout, params.parse_cell(CELL), "rft")
    lock.parent.mkdir(parents=True)
    code = (
        "import sys, time; from pathlib import Path; from vrft_core.locks import exclusive, together\n"
        "with together(Path(sys.argv[1]), 'a'), exclusive(Path(sys.argv[2]), 'b'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(project_lock(layout)), str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout and stage.stdout.readline() == "held\n"
        assert main(["--root", str(layout.root), "gc", "--days", "0", "--yes"]) == 2
        said = capsys.readouterr().err
        assert f"{CELL} rft" in said and "nothing was removed" in said
        with alone_or_not(project_lock(layout)) as alone, together(project_lock(layout), "another stage"):
            assert not alone
        stage.communicate("")
    assert old.is_file()
    with alone_or_not(project_lock(layout)) as alone:
        assert alone


def test_links_are_not_followed_and_names_of_one_file_are_counted_once(tmp_path):
    put(tmp_path / "a/file", "12345")
    (tmp_path / "a/again").hardlink_to(tmp_path / "a/file")
    (tmp_path / "a/link").symlink_to(tmp_path)
    assert bytes_in(tmp_path / "a") == 5


@pytest.mark.slow
def test_of_mlflow_dvc_and_dagster_what_a_registered_model_needs_stays(tmp_path, capsys, monkeypatch):
    """One project, one start of each: the champion's cell has left the grid, and a trained model was trained again."""
    for name in ("MLFLOW_TRACKING_URI", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    root = small_project(tmp_path / "project")
    layout = Layout(root)
    params = load_params(root / "params.yaml")
    champion, plain = params.parse_cell("lvis-mini-1shot-s1"), params.parse_cell(CELL)
    dvc = DvcProject(root=str(root))
    run("git", "add", "-A", cwd=root)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "start", cwd=root)
    # models in DVC's cache: two generations of each cell
    digests: dict[str, list[str]] = {}
    for cell in (champion, plain):
        put(layout.prompts(cell) / "prompts.jsonl", old=False)
        put(layout.policy(cell) / "model.safetensors", old=False)
        for generation in (1, 2):
            put(layout.model(cell, "rft") / "adapter.safetensors", f"{cell.key} {generation}", old=False)
            put(layout.training(cell, "rft"), json.dumps({"steps": generation}), old=False)
            dvc.commit(f"rft@{cell.key}")
            digests.setdefault(cell.key, []).append(provenance.directory_digest(layout.model(cell, "rft")))
    # MLflow: a run for each, and the champion is the first generation
    runs: dict[str, list[str]] = {}
    with tracking.open_store(layout) as client:
        where = tracking.experiment(client, layout, "lvis")
        for key, found in digests.items():
            for digest in found:
                tags = {tracking.KEY: f"{key}/{digest}", "cell": key, "stage": "rft", tracking.MODEL: digest}
                made = client.create_run(where, run_name=f"{key}-rft", tags=tags)
                client.set_terminated(made.info.run_id)
                runs.setdefault(key, []).append(made.info.run_id)
        own = client.create_run(where, run_name="a person's own")
        client.set_terminated(own.info.run_id)
        client.create_registered_model("lvis-mini")
        tags = {tracking.DVC_DIGEST: digests[champion.key][0], "vrft.cell": champion.key}
        client.create_model_version("lvis-mini", str(root), runs[champion.key][0], tags)
        client.set_registered_model_alias("lvis-mini", registry.CHAMPION, "1")
    # Dagster: the same asset three times
    (root / "dagster_home").mkdir()
    (root / "dagster_home/dagster.yaml").write_text("telemetry: {enabled: false}\n")

    @dg.asset
    def numbers() -> None: ...

    with dg.DagsterInstance.from_config(str(root / "dagster_home")) as instance:
        launches = [dg.materialize([numbers], instance=instance).run_id for _ in range(3)]

    assert main(["--root", str(root), "remove", champion.key]) == 0
    capsys.readouterr()
    assert main(["--root", str(root), "gc", "--days", "0", "--json"]) == 0
    dry = json.loads(capsys.readouterr().out)
    assert {one["kind"] for one in dry["things"]} == {"MLflow run", "Dagster run", "DVC cache"} and not dry["removed"]
    cache = root / ".dvc/cache/files/md5"

    def is_cached(digest: str) -> bool:
        return (cache / digest[:2] / digest[2:]).is_file()

    assert all(is_cached(digest) for found in digests.values() for digest in found), "nothing goes unless asked for"
    assert main(["--root", str(root), "gc", "--days", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["things"] == [], "all is from today"

    assert main(["--root", str(root), "gc", "--days", "0", "--yes", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["things"] == dry["things"] and not done["notes"]
    assert [is_cached(digest) for digest in digests[champion.key]] == [True, False], "the champion's, not the later one"
    assert [is_cached(digest) for digest in digests[plain.key]] == [False, True], "what the workspace has now"
    files = {
        row["md5"]
        for row in json.loads((cache / digests[champion.key][0][:2] / digests[champion.key][0][2:]).read_text())
    }
    assert files and all(is_cached(digest) for digest in files), "with what is in it"
    with tracking.open_store(layout) as client:
        left = {one.info.run_id for one in client.search_runs([where])}
        assert left == {*runs[champion.key], runs[plain.key][1], own.info.run_id}, "the last of each needed cell, too"
        assert str(client.get_model_version_by_alias("lvis-mini", registry.CHAMPION).version) == "1"
    with dg.DagsterInstance.from_config(str(root / "dagster_home")) as instance:
        assert [one.run_id for one in instance.get_runs()] == launches[-1:]
        assert instance.get_latest_materialization_event(dg.AssetKey("numbers"))
    assert main(["--root", str(root), "gc", "--days", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["things"] == [], "a second time there is nothing"
