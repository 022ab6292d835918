"""What `dvc exp run -S` can change in params.yaml: blocks that a recipe shares with no other (docs/dvc.md).

DVC writes a block that recipes share by a YAML anchor once for each of them, and the last one wins.
"""

import copy
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize._yaml import parse_yaml_for_update

pytestmark = pytest.mark.slow  # DVC reads and writes the file in seconds
PARAMS = Path(__file__).parents[1] / "params.yaml"
TASKS = ("detection", "grounding", "classification")
MINI = ("few_shot", "prompts", "policy", "adapter", "sft", "rft", "evaluation")


@pytest.fixture(scope="module")
def recipes() -> dict:
    """As DVC reads them to change them: a shared block is one object."""
    return parse_yaml_for_update(PARAMS.read_text(encoding="utf-8"), str(PARAMS))["recipes"]


def test_sft_and_rft_belong_to_each_recipe_alone(recipes):
    for method in ("sft", "rft"):
        assert len({id(recipe[method]) for recipe in recipes.values()}) == len(recipes)


def test_minis_blocks_belong_to_it_alone(recipes):
    def blocks(recipe: dict) -> list[dict]:
        tasks = [recipe["tasks"][task] for task in TASKS]
        return [*(recipe[name] for name in MINI), recipe["policy"]["pretraining"], *tasks]

    kin = [recipe for name, recipe in recipes.items() if name.partition("-")[0] == "mini"]
    assert len(kin) == 3
    assert all(len({id(one) for one in same}) == 3 for same in zip(*map(blocks, kin), strict=True))


def test_a_value_of_such_a_block_changes_there_and_nowhere_else(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS.read_text(encoding="utf-8"))
    changes = ("recipes.mini.policy.pretraining.seed=7", "recipes.mini.tasks.classification.rft.steps=9",
               "recipes.qwen2-vl-2b.rft.beta=0.5", "recipes.qwen3-vl-2b.sft.steps=11")  # fmt: skip

    apply_overrides(str(tmp_path / "params.yaml"), list(changes))

    expected = copy.deepcopy(yaml.safe_load(PARAMS.read_text(encoding="utf-8")))
    for change in changes:
        path, _, value = change.partition("=")
        *blocks, name = path.split(".")
        place = expected
        for one in blocks:
            place[one] = copy.copy(place[one])  # of this recipe alone
            place = place[one]
        place[name] = yaml.safe_load(value)
    assert yaml.safe_load((tmp_path / "params.yaml").read_text()) == expected
