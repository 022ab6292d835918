"""A task may train otherwise than its recipe says for all."""

from pathlib import Path

import pytest
import yaml

from vrft_core.errors import InputError
from vrft_core.tasks import load_params

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"


def params(tmp_path: Path, **trainings):
    written = yaml.safe_load(PARAMS.read_text())
    recipe = written["recipes"]["mini"]
    for task in recipe["tasks"].values():
        task.pop("sft", None)
        task.pop("rft", None)
    recipe["tasks"]["classification"] |= trainings
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(written))
    return load_params(tmp_path / "params.yaml")


def test_a_task_changes_some_values_of_a_training_and_leaves_the_rest(tmp_path):
    read = params(tmp_path, rft={"steps": 60, "learning_rate": 5e-4})
    recipe, own = read.recipes["mini"], read.recipe(read.parse_cell("icons-mini-1shot-s0"))
    assert own.rft == recipe.rft.model_copy(update={"steps": 60, "learning_rate": 5e-4})
    assert own.sft == recipe.sft


def test_the_other_tasks_and_the_starting_weights_keep_the_recipe_s_values(tmp_path):
    read = params(tmp_path, rft={"steps": 60})
    for key in ("lvis-mini-1shot-s0", "phrases-mini-4shot-s0", "mini"):
        assert read.recipe(read.parse_cell(key)).rft == read.recipes["mini"].rft


@pytest.mark.parametrize(
    ("trainings", "said"),
    [
        ({"rft": {"step": 60}}, "tasks.classification.rft.step: Extra inputs are not permitted"),
        ({"sft": {"steps": 0}}, "tasks.classification.sft.steps: Input should be greater than or equal to 1"),
        ({"rft": {"beta": 0.0}}, "guards: kl is only measured where beta is not 0"),
    ],
    ids=["unknown", "out of range", "no sense together"],
)
def test_values_that_make_no_sense_are_refused(tmp_path, trainings, said):
    with pytest.raises(InputError, match=said):
        params(tmp_path, **trainings)
