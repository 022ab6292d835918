"""Which recipes are compared, as params.yaml says it, and how DVC and Dagster know of it."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from small_project import ROOT, edit_params, small_project
from test_graph import TASKS, files_in, reach, shown

from pipelines.definitions import build_definitions
from pipelines.dvc_project import DvcProject
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.add import add, remove
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.stages import OF_SOME
from vrft_core.tasks import load_params, settings_models

NATIVE, BASE = "lvis-mini-native-1shot", "lvis-mini-1shot"


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> Path:
    """A project with everything that `comparisons` of this one names in its grid. No stage is run here."""
    root = small_project(tmp_path_factory.mktemp("graph") / "project")
    add(root, "comparisons", seeds=(0,))
    return root


def params_with(change) -> Params:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(content)
    return Params.parse(yaml.safe_dump(content, sort_keys=False), Path("params.yaml"), settings_models())


def test_the_grid_as_shipped_has_no_cell_of_a_compared_recipe_so_that_a_laptop_can_run_all_of_it():
    params = load_params(ROOT / "params.yaml")
    assert params.comparisons and {*params.comparisons.values()} == {"mini"}
    assert params.grid.recipes == ["mini"] and not params.grid.comparisons


@pytest.mark.parametrize("pair", [{"mini-nativ": "mini"}, {"mini-native": "minni"}])
def test_an_unknown_recipe_is_refused(pair):
    with pytest.raises(InputError, match=r"comparisons\.mini-nativ.*: no recipe '(mini-nativ|minni)'; known: mini, "):
        params_with(lambda content: content.update(comparisons=pair))


def test_a_recipe_is_not_compared_with_itself():
    with pytest.raises(InputError, match=r"comparisons\.mini: a recipe is compared with another one"):
        params_with(lambda content: content.update(comparisons={"mini": "mini"}))


@pytest.mark.slow
def test_adding_comparisons_puts_the_same_cells_of_the_compared_recipes_beside_those_in_the_grid(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    add(tmp_path, "comparisons", seeds=(0, 1))
    params = load_params(tmp_path / "params.yaml")
    first = [cell for cell in params.cells() if cell.recipe == "mini" and cell.seed in (0, 1)]
    for recipe in params.comparisons:
        own = [cell for cell in params.cells() if cell.recipe == recipe]
        assert [(c.benchmark, c.shots, c.seed) for c in own] == [(c.benchmark, c.shots, c.seed) for c in first]
    row = params.grid.comparisons["phrases-mini-native-4shot"]
    assert (row.recipe, row.against, row.shots, row.seeds) == ("mini-native", "mini", 4, [0, 1])
    remove(tmp_path, "lvis-mini-1shot-s1")
    assert load_params(tmp_path / "params.yaml").grid.comparisons[NATIVE].seeds == [0], "the seeds that both have"
    add(tmp_path, "lvis", seeds=(1,))
    assert load_params(tmp_path / "params.yaml").grid.comparisons[NATIVE].seeds == [0, 1]
    remove(tmp_path, "comparisons")
    after = load_params(tmp_path / "params.yaml")
    assert after.grid.recipes == ["mini"] and not after.grid.comparisons


def test_rows_that_comparisons_and_cells_do_not_imply_are_refused(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    add(tmp_path, "comparisons")
    edit_params(tmp_path, lambda params: params["grid"]["comparisons"][NATIVE].update(seeds=[0]))
    with pytest.raises(InputError, match=rf"grid\.comparisons\.{NATIVE} must be .*'seeds': \[0, 1, 2\]"):
        load_params(tmp_path / "params.yaml")


def test_what_is_compared_with_nothing_in_the_grid_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert main(["--root", str(tmp_path), "stage", "comparison", "--cell", BASE]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("name the pair under `comparisons` in params.yaml, then `vrft add comparisons`")
    assert "\n" not in said
    with pytest.raises(InputError, match=r"has no cell with these seeds of the recipes to compare with: mini"):
        add(tmp_path, "comparisons", seeds=(9,))
    with pytest.raises(InputError, match=r"--recipe: what comparisons in params\.yaml names have their own"):
        add(tmp_path, "comparisons", recipe="mini")


@pytest.mark.slow
def test_dvc_has_a_comparison_for_each_pair_of_studies_and_dagster_shows_it(compared):
    params, stages = load_params(compared / "params.yaml"), DvcProject(root=str(compared)).stages()
    targets = {f"comparison@lvis-{recipe}-1shot": recipe for recipe in params.comparisons}
    assert {target for target in stages if target.startswith("comparison@")} == {*targets}
    for target, recipe in targets.items():
        stage = stages[target]
        assert stage.command == f"vrft stage comparison --cell lvis-{recipe}-1shot"
        assert stage.outs == (Layout(Path()).comparison(params.parse_cell(stage.key)).as_posix(),)
        assert {f"rft_eval@lvis-{one}-1shot-s0" for one in (recipe, "mini")} <= {*stage.needs}
        assert {f"base_eval@lvis-{one}" for one in (recipe, "mini")} <= {*stage.needs}
    graph = build_definitions(compared).resolve_asset_graph()
    asset, upstream = graph.get(dg.AssetKey("lvis_comparison")), graph.get(dg.AssetKey("lvis_rft_eval")).partitions_def
    assert asset.partitions_def and upstream
    assert {*asset.partitions_def.get_partition_keys()} == {f"{recipe}-1shot" for recipe in params.comparisons}
    mapping = asset.partition_mappings[dg.AssetKey("lvis_rft_eval")]
    feeds = mapping.get_upstream_mapped_partitions_result_for_partitions(
        asset.partitions_def.subset_with_partition_keys(["mini-native-1shot"]), asset.partitions_def, upstream
    )
    assert {"mini-native-1shot-s0", "mini-1shot-s0"} <= {*feeds.partitions_subset.get_partition_keys()}
    assert not any("mini-no-thinking" in key for key in feeds.partitions_subset.get_partition_keys())
    assert not any(key.path[0].startswith("icons") for key in graph.get_all_asset_keys())


@pytest.mark.slow
def test_its_code_dependencies_are_exactly_the_modules_that_it_reaches(compared):
    [name] = OF_SOME
    stage = next(one for one in DvcProject(root=str(compared)).stages().values() if one.name == name)
    idle = set(stage.files)
    for task in TASKS:
        entries = {entry.replace("/detection/", f"/{task}/"): entry for entry in stage.files}
        reached = reach(f"vrft_core.stages.{name}", (task,))
        covered = {path for entry in entries for path in files_in(ROOT / entry)}
        assert not (missing := reached - covered), f"dvc.yaml, {name}: add {shown(missing)}"
        idle -= {written for entry, written in entries.items() if reached & set(files_in(ROOT / entry))}
    assert not idle, f"dvc.yaml, {name}: never imported: {sorted(idle)}"
