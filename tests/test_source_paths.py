"""Each official source's whole path, from files in the published layout to prompts that the checks accept.

Every source goes through `vrft`, and through `dvc repro` and Dagster, which write the same bytes: one of each task
always, the others with VRFT_LONG_DRILLS=1.
"""

import os
import re
from pathlib import Path

import dagster as dg
import pytest
import yaml
from served_sources import official_server, server_with_photos, server_with_tables  # noqa: F401 - fixtures
from small_project import ROOT, edit_params, run, small_project
from test_doors import tree
from test_source_checks import SOURCES

from pipelines.checks.contracts import CONTRACTS
from pipelines.checks.validation import validate
from pipelines.definitions import build_definitions
from vrft_core import io, sources
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.add import add
from vrft_core.families.form import Form
from vrft_core.stages import STAGES
from vrft_core.tasks import get_task, load_params

pytestmark = pytest.mark.slow
LONG = pytest.mark.skipif("VRFT_LONG_DRILLS" not in os.environ, reason="two CPU minutes: set VRFT_LONG_DRILLS=1")
DATA = ("raw", "few_shot", "prompts")
SETTINGS = {  # as `test_source_checks` writes them
    "lvisovd": {"taught": ["person"], "categories": ["die"]},
    "flowers102": {"splits": "coop"},
    "cars196": {"splits": "coop"},
    "reasonseg": {"box": "first"},
    "virft": {"dataset": "lvis-few-shot"},
    "rf20vl": {"project": "bees", "version": 2},
}
OWN = {  # what a benchmark says besides
    "lvisovd": {"taught": ["person"], "categories": ["die"], "settings": {}},
    "virft": {"categories": ["horse_buggy", "die"], "taught": ["horse_buggy"]},
    "lvis": {"taught": ["horse_buggy"]},
    "coco": {"taught": ["person"]},
}
RECIPES = {"virft": "qwen2-vl-2b-published"}


def benchmark(name: str) -> dict:
    """What params.yaml says of a source's fixture."""
    task = SOURCES[name][0]
    row = {"task": task, "official": name, "taught": "all", "settings": SETTINGS.get(name, {}), **OWN.get(name, {})}
    return row | ({"subject": "thing"} if task == "classification" else {})


def added(root: Path, names: list[str]) -> dict[str, str]:
    """Put a benchmark of each source into a project; its cell by the source's name."""
    edit_params(root, lambda p: p["benchmarks"].update({f"{name}-files": benchmark(name) for name in names}))
    recipes = {name: RECIPES.get(name, "qwen2-vl-2b") for name in names}
    for name, recipe in recipes.items():
        add(root, f"{name}-files", recipe, [1], [0])
    return {name: f"{name}-files-{recipe}-1shot-s0" for name, recipe in recipes.items()}


@pytest.mark.parametrize("name", list(sources.OFFICIAL))
def test_a_source_goes_through_vrft_to_prompts_that_the_checks_accept(name, tmp_path, request, monkeypatch):
    SOURCES[name][1](tmp_path / "direct", request, monkeypatch)  # publishes the files, too
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    key = added(tmp_path, [name])[name]
    params, layout = load_params(tmp_path / "params.yaml"), Layout(tmp_path)
    cell = params.parse_cell(key)

    for stage in DATA:
        assert main(["--root", str(tmp_path), "stage", stage, "--cell", cell.at(STAGES[stage]).key]) == 0

    for stage in DATA:
        frames, suites = CONTRACTS[stage](layout, params, cell.at(STAGES[stage]))
        found = validate(frames, suites)
        assert found
        assert {check: one.broken for check, one in found.items() if one.critical and one.broken} == {}, stage
    selection = io.read_json(layout.few_shot(cell) / "selection.json")
    assert all(row["images"] for row in selection["categories"])
    if "categories" not in OWN.get(name, {}):
        written, direct = (io.read_json(path / "annotations.json") for path in (layout.raw(cell), tmp_path / "direct"))
        assert written["annotations"] == direct["annotations"]


def test_what_annotators_were_told_is_an_option_of_the_question(tmp_path, request, monkeypatch):
    SOURCES["rf20vl"][1](tmp_path / "raw", request, monkeypatch)
    found, recipe = (
        Annotations.load(tmp_path / "raw/annotations.json"),
        load_params(ROOT / "params.yaml").recipes["mini"],
    )
    without = recipe.tasks["detection"]
    asked = [
        [one.question for one in get_task("detection").prompts.examples([(1, 0), (2, 1)], found, tmp_path, form)]
        for form in (Form.of(recipe, without), Form.of(recipe, without.model_copy(update={"instructions": True})))
    ]

    assert asked[1] == [f"What annotators were told of 'bee': Has fur. Draw its wings.\n{asked[0][0]}", asked[0][1]]


def test_benchmarks_as_the_documentation_writes_them_get_cells(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/official-data.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    rows = yaml.safe_load(text)
    edit_params(tmp_path, lambda p: p["benchmarks"].update(rows))

    for name, recipe in (("refcoco", "qwen2-vl-2b-reasonseg"), ("bees", "qwen2-vl-2b")):
        add(tmp_path, name, recipe, [1], [0])
        sources.get(rows[name]["official"]).Settings(**rows[name]["settings"])

    assert {"refcoco", "bees"} <= {cell.benchmark for cell in load_params(tmp_path / "params.yaml").cells()}


PATCH = """

import dataclasses  # the fixture's checksums in place of the official ones

_KNOWN = {known!r}
FILES = {{key: dataclasses.replace(file, urls=(), **_KNOWN[key]) for key, file in FILES.items() if key in _KNOWN}}
"""
SMALL = {  # what else of an official set the fixture has less of
    "flowers102": lambda module: "CLASSES = CLASSES[:3]\n",
    "reasonseg": lambda module: f"IMAGES = {module.IMAGES!r}\n",
    "refcoco": lambda module: f"REFS = {module.REFS!r}\n",
    "virft": lambda module: (
        """
from vrft_core.sources import boxes

_CHOSEN = boxes.Settings(categories=["horse_buggy", "die"], validation=0)
SETS["lvis-few-shot"] = Set("ViRFT_LVIS_few_shot", 1, 5, lvis, _CHOSEN)
"""
    ),
}
MODULES = [name for name in sources.OFFICIAL if hasattr(sources.get(name), "FILES")]


def expect_what_is_published(root: Path, names: list[str]) -> None:
    """Let the project's own copy of the sources expect what `publish` has served, as the modules here do."""
    for name in {*names, *MODULES}:
        module, path = sources.get(name), root / f"vrft_core/sources/{name}.py"
        files = getattr(module, "FILES", {})
        if files and not any(file.urls for file in files.values()):
            known = {key: {"size": file.size, "sha256": file.sha256, "md5": file.md5} for key, file in files.items()}
            path.write_text(path.read_text() + PATCH.format(known=known))
        if name in names and name in SMALL:
            path.write_text(path.read_text() + SMALL[name](module))


SHORT = ["virft", "pets37", "reasonseg"]  # a minute of CPU time; one of each task
OTHERS = [name for name in sources.OFFICIAL if name not in SHORT]


@pytest.mark.parametrize("names", [pytest.param(SHORT, id="short"), pytest.param(OTHERS, id="long", marks=LONG)])
def test_dvc_and_dagster_make_the_same_of_each_source(names, tmp_path, request, monkeypatch):
    """Each in a copy of the project in whose code the fixture's checksums stand."""
    for name in names:
        SOURCES[name][1](tmp_path / "direct" / name, request, monkeypatch)
    for door in ("dvc", "dagster"):
        root = small_project(tmp_path / door)
        keys = added(root, names)
        expect_what_is_published(root, names)

    targets = [f"prompts@{key}" for key in keys.values()]
    run("dvc", "repro", "-q", *targets, cwd=tmp_path / "dvc", PYTHONPATH=str(tmp_path / "dvc"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "dagster"))
    definitions = build_definitions(tmp_path / "dagster")
    with dg.instance_for_test() as instance:
        for name, key in keys.items():
            result = definitions.resolve_job_def(f"{name}_files").execute_in_process(
                instance=instance,
                partition_key=key.removeprefix(f"{name}-files-"),
                asset_selection=[dg.AssetKey(f"{name}_files_{stage}") for stage in DATA],
            )
            checks = result.get_asset_check_evaluations()
            assert result.success and len(checks) > 8 and all(check.passed for check in checks), name

    assert tree(tmp_path / "dvc") == tree(tmp_path / "dagster")
    assert {f"data/raw/{name}-files-official/annotations.json" for name in names} <= set(tree(tmp_path / "dvc"))
