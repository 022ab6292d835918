"""What is asked about an image: presence protocols and presence maps."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.tasks import load_params, settings_models
from vrft_core.tasks.detection.commands import presence_map
from vrft_core.tasks.detection.metrics.average_precision import FALSE
from vrft_core.tasks.detection.metrics.scores import match_rows
from vrft_core.tasks.detection.prompts import questions
from vrft_core.tasks.detection.prompts.presence import mapped, oracle, read_map, verified
from vrft_core.tasks.detection.settings import Settings
from vrft_core.tasks.task import Example

ROOT = Path(__file__).parents[1]
NAMES = {1: "cat", 2: "dog", 3: "hog"}
EVALUATED = [1, 2]


@pytest.fixture
def truth() -> Annotations:
    """Image 1: a cat, no dog. Image 2: a dog, nobody looked for cats. Image 3: a hog; no cat, no dog."""
    absent = {1: [2], 2: [3], 3: [1, 2]}
    present = {1: 1, 2: 2, 3: 3}
    return Annotations.from_dict(
        {
            "images": [
                {
                    "id": i, "width": 100, "height": 100, "file_name": f"{i}.png", "split": "eval",
                    "neg_category_ids": ids, "not_exhaustive_category_ids": [],
                }
                for i, ids in absent.items()
            ],
            "annotations": [
                {"id": i, "image_id": i, "category_id": c, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0}
                for i, c in present.items()
            ],
            "categories": [{"id": i, "name": name, "frequency": "f"} for i, name in NAMES.items()],
        }
    )  # fmt: skip


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def detection_settings(**changes: object) -> Settings:
    """What the recipe `mini` says of detection, changed."""
    recipe = yaml.safe_load((ROOT / "params.yaml").read_text())["recipes"]["mini"]
    return Settings.model_validate(recipe["tasks"]["detection"] | changes)


def test_oracle_asks_for_what_is_there(truth):
    assert oracle(truth, EVALUATED) == [(1, 1), (2, 2)]


def test_self_asks_for_what_was_verified_to_be_there_or_not(truth):
    assert verified(truth, EVALUATED) == [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2)]


def test_an_object_invented_where_its_category_was_verified_absent_counts_as_wrong(truth):
    rows = [
        {"image_id": i, "category_id": c, "boxes": [[10, 10, 60, 60]], "scores": [0.5]}
        for i, c in verified(truth, EVALUATED)
    ]
    silent = [row if row["category_id"] in truth.category_ids(row["image_id"]) else row | {"boxes": [], "scores": []}
              for row in rows]  # fmt: skip
    inventive, honest = (match_rows(truth, each, EVALUATED)["lvis"] for each in (rows, silent))
    assert (inventive.outcome[0, 0] == FALSE).sum() == 3
    assert inventive.average_precision()["AP"] < honest.average_precision()["AP"] == pytest.approx(1)


def test_map_asks_for_what_the_map_claims_right_or_wrong_and_evaluates_nothing_else(truth, tmp_path):
    path = written(tmp_path / "map.json", {"1": ["dog", "cat"], "2": [], "3": ["hog", "cat"], "99": ["unicorn"]})
    assert mapped(truth, EVALUATED, read_map(path, truth)) == [(1, 1), (1, 2), (3, 1)]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([["cat"]], "not a presence map"),
        ({"1": "cat", "2": [], "3": []}, "not a presence map"),
        ({"1": ["cat"], "2": []}, "has no image 3"),
        ({"1": ["cta"], "2": [], "3": []}, "no category is called 'cta'; is it cat?"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused_with_its_fault(truth, tmp_path, value, fault):
    with pytest.raises(InputError, match=fault.replace("?", r"\?")):
        read_map(written(tmp_path / "map.json", value), truth)


def test_params_take_the_three_protocols_and_a_map_only_with_its_digest(truth, tmp_path):
    path = written(tmp_path / "map.json", {"1": ["dog"], "2": [], "3": []})

    def asked(value: object) -> tuple[str, list]:
        settings = detection_settings(presence=value)
        return settings.asked_by, questions(truth, EVALUATED, settings, tmp_path)

    assert asked("oracle") == ("oracle", oracle(truth, EVALUATED))
    assert asked("self") == ("self", verified(truth, EVALUATED))
    assert asked({"map": "map.json", "sha256": io.sha256(path)}) == ("map", [(1, 2)])
    with pytest.raises(InputError, match="is not the map that params"):
        asked({"map": "map.json", "sha256": "0" * 64})
    for wrong in ("everything", {"map": "map.json"}):
        with pytest.raises(ValidationError):
            asked(wrong)


def test_ranking_by_consistency_needs_samples():
    assert detection_settings(ranking="consistency", samples=4)
    with pytest.raises(ValidationError, match="needs `samples`"):
        detection_settings(ranking="consistency")


def test_ranking_by_combined_needs_training_images_and_chooses_checkpoints_by_certainty():
    assert detection_settings(ranking="combined", fitting_images=100).validation_ranking == "certainty"
    with pytest.raises(ValidationError, match="needs `fitting_images`"):
        detection_settings(ranking="combined")


def test_what_params_refuse_is_said_in_their_own_words():
    text = (ROOT / "params.yaml").read_text().replace("ranking: certainty", "ranking: consistency")
    with pytest.raises(InputError, match=r"^params.yaml: recipes.mini.tasks: detection: ranking `consistency` needs"):
        Params.parse(text, Path("params.yaml"), settings_models())


@pytest.mark.parametrize(
    ("completion", "claimed"),
    [("yes", True), ("Yes.", True), ("<answer>Yes</answer>", True), ("no", False), ("No, there is a dog", False)],
)
def test_a_map_is_made_of_the_models_yes_and_no(monkeypatch, completion, claimed):
    said = iter([completion, "maybe"])

    def answer(model, processor, asked, task, form, **settings):
        assert "'cat'" in asked[0].question and "'dog'" in asked[1].question
        return [{"image_id": one.image_id, "completion": next(said)} for one in asked]

    monkeypatch.setattr(presence_map, "predict", answer)
    form = Form.of(load_params(ROOT / "params.yaml").recipes["mini"])
    claimed_of = presence_map.claim(None, None, [example("cat"), example("dog")], form)
    assert claimed_of == ({"1": ["cat"] if claimed else []}, 1)


def example(category: str) -> Example:
    image = Image.new("RGB", (56, 56))
    return Example(f"1-{category}", 1, 56, 56, image, category, "where is it?", "", '{"category_id": 1, "boxes": []}')
