"""A project outside the checkout: what `vrft new` writes, and that a wheel is all it needs."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_project import ROOT

from vrft_core.commands import new
from vrft_core.errors import InputError


def test_it_writes_the_projects_own_files_and_links_the_code(tmp_path):
    project = tmp_path / "my-project"
    said = new.new(project)
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config", "data/README.md"):
        assert (project / name).read_bytes() == (ROOT / name).read_bytes()
    assert (project / "params.yaml").read_bytes() == new.PARAMS.read_bytes()
    assert (project / "vrft_core").resolve() == ROOT / "vrft_core"
    assert (project / ".git").is_dir() and f"cd {project}" in said[-1]
    ignored = subprocess.run(["git", "check-ignore", "vrft_core"], cwd=project, capture_output=True, text=True)
    assert ignored.stdout == "vrft_core\n"


def test_the_published_grid_is_this_checkouts():
    """But for cells and data of one's own, which a checkout may have."""
    published, here = (yaml.safe_load(path.read_text()) for path in (new.PARAMS, ROOT / "params.yaml"))
    for content in (published, here):
        del content["grid"], content["nightly"]
    here["benchmarks"] = {name: here["benchmarks"].get(name) for name in published["benchmarks"]}
    assert published == here, "run python -m vrft_core.commands.schema if params.yaml is to be published as it is"


def test_an_empty_folder_may_be_there_and_anything_in_it_may_not(tmp_path):
    (tmp_path / "empty").mkdir()
    new.new(tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    for place in ("full", "full/notes.txt"):
        with pytest.raises(InputError, match=r"exists already; name a new folder"):
            new.new(tmp_path / place)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_without_git_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="git: is not installed"):
        new.new(tmp_path / "project")
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_nowhere_is_made_again_and_a_checkout_is_left_alone(tmp_path):
    new.new(tmp_path / "project")
    link = tmp_path / "project/vrft_core"
    link.unlink()
    link.symlink_to(tmp_path / "an environment that was removed")
    new.link_code(tmp_path / "project")
    assert link.resolve() == ROOT / "vrft_core"
    new.link_code(ROOT)
    assert not (ROOT / "vrft_core").is_symlink()


def test_the_build_packs_what_the_command_writes():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    [packed] = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "TEMPLATE"]  # type: ignore[attr-defined]
    assert ast.literal_eval(packed) == new.TEMPLATE
    assert all((ROOT / name).is_file() for name in new.TEMPLATE)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with what the wheel installs, built from a copy of the checkout; its commands in bin/."""
    work = tmp_path_factory.mktemp("wheel")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        if (ROOT / name).is_file():
            (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, work / "source" / name)
    with (work / "source/params.yaml").open("a", encoding="utf-8") as file:
        file.write("# a user's own experiments\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    command = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(work), str(work / "source")]
    subprocess.run(command, check=True)
    [wheel] = work.glob("vrft-*-py3-none-any.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(work / "site"), str(wheel)], check=True)
    return work / "site"


def outside(site: Path, cwd: Path, *command: str) -> str:
    """Run a program with the wheel's code, never the checkout's."""
    here = Path(sys.executable).parent
    path = os.pathsep.join([str(site / "bin"), str(here), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(site), "PATH": path, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_holds_all_that_a_project_needs(site):
    for name in (
        *(f"template/{name}" for name in new.TEMPLATE),
        "commands/params.yaml",
        "py.typed",
        "params/params.schema.json",
    ):
        assert (site / "vrft_core" / name).is_file(), name
    data = [path for path in (ROOT / "vrft_core").rglob("*") if path.suffix in {".csv", ".json", ".j2", ".css", ".py"}]
    missing = [path for path in data if not (site / path.relative_to(ROOT)).is_file()]
    assert missing == []


@pytest.mark.slow
def test_stages_run_in_a_new_project_and_an_upgrade_makes_stale_what_it_changes(site, tmp_path):
    outside(
        site, tmp_path, sys.executable, "-c", f"from vrft_core.commands.new import new; new({str(tmp_path / 'p')!r})"
    )
    project = tmp_path / "p"
    assert (project / "vrft_core").resolve() == site / "vrft_core"
    text = (project / "params.yaml").read_text(encoding="utf-8")
    assert "a user's own experiments" not in text and text == new.PARAMS.read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    params["benchmarks"]["lvis"]["embedded"]["images"] = {"train": 240, "val": 12, "eval": 24}
    params["benchmarks"]["lvis"]["embedded"]["categories"] = {"f": ["cat"], "c": ["hog"], "r": ["tiger"]}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    target = "few_shot@lvis-mini-1shot-s0"
    outside(site, project, sys.executable, "-m", "dvc", "repro", target)
    assert (project / "data/few_shot/lvis-mini-1shot-s0/selection.json").is_file()

    def stale() -> str:
        return outside(site, project, sys.executable, "-m", "dvc", "status", "raw@lvis-embedded", target)

    assert "up to date" in stale()
    with (site / "vrft_core/sampling.py").open("a", encoding="utf-8") as file:
        file.write("\n# another version\n")
    assert target in stale() and "raw@lvis-embedded:" not in stale()
