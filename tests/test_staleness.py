"""What an edit makes stale: the stages that read what was edited, and no stage of another task."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from small_project import CELL, ROOT, edit_params, run, small_project

from pipelines.dvc_project import DvcProject, Stage
from vrft_core.params import Params
from vrft_core.tasks import get_task, load_params

CELLS = {"detection": CELL, "classification": "icons-mini-1shot-s0", "grounding": "phrases-mini-1shot-s0"}
BENCHMARKS = {task: key.split("-")[0] for task, key in CELLS.items()}
PAID = {"rft", "report"}
MEASURED = {"base_eval", "sft", "rft", "sft_eval", "rft_eval", "report", "study"}
SHOWN = {"report", "study"}
DATA = {"raw": "raw@lvis-embedded", "few_shot": f"few_shot@{CELL}", "prompts": f"prompts@{CELL}"}
READ_BY = {"rewards": PAID, "metrics": MEASURED, "panels": SHOWN}  # part → stages of the same task that read it


def of_every_task(params: dict) -> None:
    """A cell of each task in the grid, and a policy that is pre-trained on all."""
    params["recipes"]["mini"]["policy"]["pretraining"]["benchmarks"] = dict.fromkeys(BENCHMARKS.values(), 1.0)
    grid = params["grid"]
    for task, key in CELLS.items():
        name = BENCHMARKS[task]
        setup = {"benchmark": name, "recipe": "mini", "task": task, "data": "embedded"}
        grid["data"][f"{name}-embedded"] = {"benchmark": name, "data": "embedded"}
        grid["setups"][f"{name}-mini"] = setup
        grid["cells"].setdefault(key, setup | {"shots": 1, "seed": 0})
        grid["studies"].setdefault(f"{name}-mini-1shot", setup | {"shots": 1, "seeds": [0]})


@pytest.fixture(scope="module")
def every_task(tmp_path_factory) -> Path:
    """A project with cells of all tasks. No stage is run here."""
    root = small_project(tmp_path_factory.mktemp("graph") / "project")
    edit_params(root, of_every_task)
    return root


@pytest.fixture(scope="module")
def stages(every_task) -> list[Stage]:
    return list(DvcProject(root=str(every_task)).stages().values())


@pytest.fixture(scope="module")
def params(every_task) -> Params:
    return load_params(every_task / "params.yaml")


@pytest.fixture
def committed(tmp_path) -> Path:
    """A small project whose data stages ran and are recorded by DVC."""
    root = small_project(tmp_path / "project")
    for stage, target in DATA.items():
        run("vrft", "stage", stage, "--cell", target.partition("@")[2], cwd=root, PYTHONPATH=str(root))
    run("dvc", "commit", "--force", *DATA.values(), cwd=root)
    return root


def readers(stages: list[Stage], path: Path) -> set[str]:
    """Targets that depend on a file of the code, directly."""
    name = path.relative_to(ROOT).as_posix()
    return {one.target for one in stages if any(name == entry or name.startswith(f"{entry}/") for entry in one.files)}


def task_of(stage: Stage, params: Params) -> str | None:
    """None for the policy, which is a recipe's."""
    cell = params.parse_cell(stage.key)
    return params.task(cell) if cell.benchmark else None


def code_of(task: str, part: str) -> list[Path]:
    """The files of one part of a task."""
    place = ROOT / "vrft_core/tasks" / task / part
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


@pytest.mark.parametrize("part", READ_BY)
@pytest.mark.parametrize("task", CELLS)
def test_rewards_metrics_and_panels_reach_stages_of_their_own_task_alone(task, part, stages, params):
    """Never another task's, nor the policy, which tasks share."""
    own = {one.target for one in stages if one.name in READ_BY[part] and task_of(one, params) == task}
    assert {target.partition("@")[0] for target in own} == READ_BY[part]
    for path in code_of(task, part):
        assert readers(stages, path) == own, path


def test_the_rewards_golden_answers_are_read_where_the_rewards_are(stages):
    for task in CELLS:
        golden = ROOT / "vrft_core/tasks" / task / "rewards/adversarial.json"
        assert golden.is_file() and readers(stages, golden) == readers(stages, code_of(task, "rewards")[0])


def test_a_task_is_taught_to_the_policies_of_recipes_that_name_it_and_to_no_others(stages, params):
    """What the small policy is shown of a task comes from the task's prompts and supervision."""
    taught = {params.benchmarks[name].task for recipe in params.recipes for name in pretrained_on(params, recipe)}
    assert taught
    for task in CELLS:
        for path in (*code_of(task, "prompts"), *code_of(task, "supervision")):
            assert ("policy@mini" in readers(stages, path)) == (task in taught), path


def pretrained_on(params: Params, recipe: str) -> list[str]:
    pretraining = params.recipes[recipe].policy.pretraining
    return list(pretraining.benchmarks) if pretraining else []


def test_what_any_recipe_is_pretrained_on_is_listed_in_the_graph():
    """The list in dvc.yaml is written by hand: DVC cannot loop over it. A recipe outside the grid counts too."""
    params = load_params(ROOT / "params.yaml")
    policy = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["policy"]["do"]
    named = {name for recipe in params.recipes for name in pretrained_on(params, recipe)}
    assert named
    for name in sorted(named):
        assert f"benchmarks.{name}.embedded" in policy["params"]
        task = get_task(params.benchmarks[name].task).name
        for part in ("prompts", "supervision.py"):
            assert f"vrft_core/tasks/{task}/{part}" in policy["deps"]


def stale(root: Path) -> set[str]:
    """Which of the data stages DVC would run again."""
    return set(json.loads(run("dvc", "status", "--json", *DATA.values(), cwd=root).splitlines()[-1]))


def edit(root: Path, task: str, part: str) -> None:
    for path in code_of(task, part):
        with (root / path.relative_to(ROOT)).open("a", encoding="utf-8") as file:
            file.write("\n# edited\n")


@pytest.mark.slow
def test_dvc_runs_nothing_again_after_edits_elsewhere_and_prompts_after_an_edit_of_theirs(committed):
    assert stale(committed) == set()
    for task in ("classification", "grounding"):
        for part in READ_BY:
            edit(committed, task, part)
        edit(committed, task, "prompts")
    for part in READ_BY:
        edit(committed, "detection", part)
    assert stale(committed) == set()
    edit(committed, "detection", "prompts")
    assert stale(committed) == {DATA["prompts"]}
    shutil.copytree(ROOT / "vrft_core/tasks/detection", committed / "vrft_core/tasks/detection", dirs_exist_ok=True)
    assert stale(committed) == set()
