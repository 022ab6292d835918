"""The graph as DVC resolved it, kept in a file: used while nothing it was read from has changed, else made again."""

import shutil
from pathlib import Path

import pytest
from small_project import ROOT, run

from dagster_dvc import DvcProject
from dagster_dvc.resolved import digests, load, store


@pytest.fixture
def project(tmp_path) -> Path:
    shutil.copytree(ROOT / "dagster_dvc/example", tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__"))
    run("git", "init", "-q", ".", cwd=tmp_path / "example")
    (tmp_path / "example/.dvc").mkdir()
    (tmp_path / "example/.dvc/config").touch()
    return tmp_path / "example"


def kept(project: Path) -> Path:
    return project / ".dvc/tmp/dagster/stages.json"


def test_what_was_kept_is_what_dvc_resolved_and_dvc_is_not_asked_again(project, monkeypatch):
    first = DvcProject(root=str(project)).stages()
    assert kept(project).is_file()
    monkeypatch.setattr(DvcProject, "_resolve", lambda self: pytest.fail("DVC was asked"))
    assert DvcProject(root=str(project)).stages() == first


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("awk", "awx", 1),
        lambda text: "",
        lambda text: "[]\n[]",
        lambda text: "\x00" * 100,
    ],
)
def test_a_damaged_one_is_ignored_and_made_again(project, damage):
    first = DvcProject(root=str(project)).stages()
    whole = kept(project).read_text()
    kept(project).write_text(damage(whole))
    assert DvcProject(root=str(project)).stages() == first
    assert kept(project).read_text() == whole


def test_a_change_of_dvc_yaml_or_of_a_file_it_takes_values_from_is_seen(project):
    (project / "more.yaml").write_text("last: 10\n")
    text = (project / "dvc.yaml").read_text().replace("seq 1 10", "seq 1 ${last}")
    (project / "dvc.yaml").write_text(f"vars: [more.yaml]\n{text}")
    one = DvcProject(root=str(project))
    assert "seq 1 10" in one.stages()["numbers"].command
    (project / "more.yaml").write_text("last: 20\n")
    assert "seq 1 20" in one.stages()["numbers"].command
    (project / "dvc.yaml").write_text((project / "dvc.yaml").read_text().replace("seq 1 ${last}", "seq 5 9"))
    assert "seq 5 9" in one.stages()["numbers"].command


def test_another_version_of_dvc_resolves_anew(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    files = digests(tmp_path, ["dvc.yaml"])
    store(tmp_path / "kept", ["3.67"], files, [{"name": "a"}])
    assert load(tmp_path / "kept", tmp_path, ["3.67"]) == [{"name": "a"}]
    assert load(tmp_path / "kept", tmp_path, ["3.68"]) is None


def test_where_it_cannot_be_written_it_is_done_without(tmp_path):
    (tmp_path / "a").write_text("a file where the folder would be")
    store(tmp_path / "a/kept", ["x"], {}, [])
    assert (tmp_path / "a").is_file()
