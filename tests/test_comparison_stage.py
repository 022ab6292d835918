"""The stage `comparison`: two recipes on the same images, paired differences, FLOPs, what the recipes do not share."""

import json
import shutil

import pytest
from plausible_results import plausible_project, write_evaluation, write_training
from small_project import edit_params, run, small_project

from pipelines.dvc_project import DvcProject
from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.commands.add import add, remove
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.stages import run_stage
from vrft_core.stages.few_shot import few_shot
from vrft_core.stages.raw import raw
from vrft_core.tasks import load_params

pytestmark = pytest.mark.slow  # scenes are drawn, answers made up and counted for two recipes

NATIVE = "lvis-mini-native-1shot"
METRIC = "lvis/oracle/AP"
SEEDS = (0, 2)  # of three
BETTER = {"base": 0.55, "sft": 0.62, "rft": 0.95}  # chance that an object is found; `mini` finds 0.78 after RFT
STEP_FLOPS = {"mini": 100.0, "mini-native": 104.0}


def asked_alike(params: dict) -> None:
    params["recipes"]["mini-native"]["tasks"]["detection"]["presence"] = "oracle"


def answers(layout: Layout, params: Params, recipe: str) -> None:
    """What a recipe's cells would have left, and the FLOPs of its trainings."""
    cells = [cell for cell in params.cells() if cell.recipe == recipe]
    if recipe != "mini":
        write_evaluation(layout, params, cells[0].at("setup"), "base", BETTER["base"])
    for cell in cells:
        if recipe != "mini":
            few_shot(layout, params, cell)
        for method in ("sft", "rft"):
            if recipe != "mini":
                write_evaluation(layout, params, cell, method, BETTER[method])
                write_training(layout, params, cell, method)
            path = layout.training(cell, method)
            record = io.read_json(path)
            io.write_json(path, record | {"flops": STEP_FLOPS[recipe] * record["steps"]})


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    """A project with three seeds of `mini` and two of `mini-native`, and their comparison."""
    root = tmp_path_factory.mktemp("compared")
    layout, _ = plausible_project(root)
    edit_params(root, lambda params: params.update(comparisons={"mini-native": "mini"}))
    add(root, "comparisons", seeds=SEEDS)
    edit_params(root, asked_alike)
    params = load_params(root / "params.yaml")
    for recipe in STEP_FLOPS:
        answers(layout, params, recipe)
    run_stage("comparison", layout, params, params.parse_cell(NATIVE))
    return layout


@pytest.fixture(scope="module")
def results(made) -> dict:
    return io.read_json(made.root / f"reports/comparisons/{NATIVE}/metrics.json")


def test_seeds_that_only_one_recipe_has_are_left_out_and_the_rest_is_named(results, made):
    assert results["seeds"] == [*SEEDS]
    assert all(len(results["differences"][m][METRIC]["per_seed"]) == len(SEEDS) for m in ("base", "sft", "rft"))
    assert "2 seeds: 0, 2" in (made.root / f"reports/comparisons/{NATIVE}/summary.md").read_text()


def test_a_difference_is_that_of_the_means_and_paired(results):
    own, other = results["models"]["mini-native"], results["models"]["mini"]
    for method, entries in results["differences"].items():
        assert entries[METRIC]["value"] == pytest.approx(own[method][METRIC]["value"] - other[method][METRIC]["value"])
    rft, base = results["differences"]["rft"][METRIC], results["differences"]["base"][METRIC]
    assert rft["low"] > 0, "it finds more, and the interval shows it"
    assert results["gains"]["rft-base"][METRIC]["value"] == pytest.approx(rft["value"] - base["value"])
    assert base["std"] == 0, "the untouched model of each recipe is one for all seeds"


def test_the_headline_claims_no_more_than_the_interval(results):
    value = 100 * results["differences"]["rft"][METRIC]["value"]
    assert results["headline"].startswith(f"RFT of mini-native beats that of mini by {value:.1f} points of LVIS AP (")
    assert any(line.startswith(("No difference between SFT", "SFT of mini-native")) for line in results["also"])


def test_training_flops_are_compared_and_the_steps_that_equalise_them_are_named(results, made):
    cost = results["cost"]["mini-native"]["rft"]
    steps = results["cost"]["mini"]["rft"]["steps"]
    assert cost["steps"] == load_params(made.root / "params.yaml").recipes["mini-native"].of("detection").rft.steps
    assert cost["equal_steps"] == round(steps * STEP_FLOPS["mini"] / STEP_FLOPS["mini-native"])
    assert cost["ratio"] == pytest.approx(cost["steps"] * STEP_FLOPS["mini-native"] / (steps * STEP_FLOPS["mini"]))


def test_flops_that_are_not_equal_are_said_to_be_so(made, tmp_path):
    summary = (made.root / f"reports/comparisons/{NATIVE}/summary.md").read_text()
    assert "not compared at equal FLOPs" not in summary
    root = shutil.copytree(made.root, tmp_path / "unequal")
    edit_params(root, lambda params: params["recipes"]["mini-native"]["tasks"]["detection"]["rft"].update(steps=60))
    params = load_params(root / "params.yaml")
    run_stage("comparison", Layout(root), params, params.parse_cell(NATIVE))
    summary = (root / f"reports/comparisons/{NATIVE}/summary.md").read_text()
    assert "**RFT was not compared at equal FLOPs; 115 steps would be equal.**" in summary


def test_what_the_recipes_do_not_share_is_listed_and_nothing_else(results):
    assert results["unlike"]["prompts.format"] == ["native", "paper"]
    assert results["unlike"]["tasks.detection.rewards.confidence"] == [None, 1.0]
    assert {name.split(".")[0] for name in results["unlike"]} == {"prompts", "tasks", "sft", "rft"}
    assert not any(name.startswith("policy") for name in results["unlike"])


def test_recipes_that_are_measured_in_other_ways_are_not_compared(made, tmp_path):
    root = shutil.copytree(made.root, tmp_path / "other")
    edit_params(root, lambda p: p["recipes"]["mini"]["tasks"]["detection"].update(presence="self"))
    params = load_params(root / "params.yaml")
    with pytest.raises(InputError, match="has no 'lvis/self/AP': recorded under another name"):
        run_stage("comparison", Layout(root), params, params.parse_cell(NATIVE))


def all_but_the_comparison(root) -> None:
    """A project in which every stage of two recipes is made, trained weights made up, and recorded by DVC."""
    edit_params(root, lambda params: params.update(comparisons={"mini-native": "mini"}))
    for seed in (1, 2):
        remove(root, f"lvis-mini-1shot-s{seed}")
    add(root, "comparisons", seeds=(0,))
    edit_params(root, asked_alike)
    layout, params = Layout(root), load_params(root / "params.yaml")
    raw(layout, params, params.cells()[0].at("data"))
    for cell in params.cells():
        few_shot(layout, params, cell)
        write_evaluation(layout, params, cell.at("setup"), "base", BETTER["base"])
        for method in ("sft", "rft"):
            write_evaluation(layout, params, cell, method, BETTER[method])
            write_training(layout, params, cell, method)
            io.write_json(layout.model(cell, method) / "weights.json", {})
        run_stage("prompts", layout, params, cell)
        io.write_json(layout.policy(cell) / "weights.json", {})
        run_stage("report", layout, params, cell)
        run_stage("study", layout, params, cell)
    made = [one for one in DvcProject(root=str(root)).stages() if not one.startswith("comparison@")]
    run("dvc", "commit", "--quiet", "--force", *made, cwd=root)


def test_vrft_run_makes_it_with_the_study_and_dvc_again_after_other_answers_of_either_recipe(tmp_path):
    root = small_project(tmp_path / "project")
    all_but_the_comparison(root)
    said = run("vrft", "run", NATIVE, cwd=root, PYTHONPATH=str(root))
    ran = [line for line in said.splitlines() if line.endswith(": running")]
    assert ran == [f"comparison@{NATIVE}: running"], said
    assert "RFT of mini-native and that of mini" in said.replace("\n", " ")
    status = run("vrft", "status", NATIVE, cwd=root, PYTHONPATH=str(root))
    assert "study  comparison" in status and "○" not in status, status
    predictions = root / "reports/lvis-mini-1shot/s0/rft/predictions.jsonl"
    predictions.write_text(predictions.read_text() + "\n")
    stale = json.loads(run("dvc", "status", "--json", f"comparison@{NATIVE}", cwd=root).splitlines()[-1])
    assert f"comparison@{NATIVE}" in stale
