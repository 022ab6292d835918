"""Digests are DVC's own, and provenance names commit, versions, parameters and inputs."""

import json
import os
import subprocess

import pytest
import yaml
from tracked import BIN, trained_project  # noqa: F401 - fixtures

from vrft_core import provenance


@pytest.mark.slow
def test_directory_and_file_digests_equal_dvcs_own(tmp_path):
    data = tmp_path / "data"
    for name, content in {"a.txt": "one\r\n", "b/c.bin": "two", "b/ü ä.txt": "three", "b-/d": ""}.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content.encode())
    (tmp_path / "one.json").write_text("{}")
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data", "one.json"]):
        subprocess.run([BIN / "dvc", *command], cwd=tmp_path, env=environment, check=True, timeout=60)

    def recorded(name):
        return yaml.safe_load((tmp_path / f"{name}.dvc").read_text())["outs"][0]["md5"]

    assert provenance.directory_digest(data) == recorded("data")
    assert provenance.file_digest(tmp_path / "one.json") == recorded("one.json")


def test_provenance_names_commit_dirt_versions_parameters_and_digests(project):
    layout, params, cell = project
    assert provenance.provenance(layout.root, params, cell)["git"] is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=layout.root, check=True)
    (layout.root / "dvc.lock").write_text("a: 1\n")

    clean = provenance.provenance(layout.root, params, cell)
    with open(layout.root / "params.yaml", "a") as file:
        file.write("# a note\n")
    dirty = provenance.provenance(layout.root, params, cell)

    assert len(clean["git"]["commit"]) == 40
    assert (clean["git"]["dirty"], dirty["git"]["dirty"]) == (False, True)
    annotations = layout.raw(cell) / "annotations.json"
    assert clean["digests"][f"data/raw/{cell.at('data').key}/annotations.json"] == provenance.file_digest(annotations)
    assert clean["digests"][f"data/few_shot/{cell.key}"] is None
    assert clean["packages"]["torch"].startswith("2.")
    assert clean["params"]["rft"]["num_generations"] == params.recipe(cell).rft.num_generations
    assert str(layout.root) not in json.dumps(clean)
