"""`vrft predict` and `vrft presence` on a model folder and images of one's own."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_policy import BOXES, detection_tokenizer, example, random_policy, small_recipe, taught_policy, teach

from vrft_core import io, policy
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.predict import cell_on_files_request
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.tasks import get_task, load_params
from vrft_core.tasks.detection.commands.presence_map import claim, existence_question
from vrft_core.tasks.task import Example

pytestmark = pytest.mark.slow  # a policy is made, or a report

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def small_policy(tmp_path_factory) -> Path:
    """Random weights: what it answers means nothing, but it answers."""
    return random_policy(tmp_path_factory.mktemp("policy"), ["cat", "dog"])


@pytest.fixture(scope="module")
def answering(tmp_path_factory) -> tuple[Path, Path, Path]:
    """(policy that answers, folder of images, annotations): three images of one object each."""
    root = tmp_path_factory.mktemp("answering")
    taught_policy(root / "policy", root / "prompts")
    (root / "images").mkdir()
    rows = {"images": [], "annotations": [], "categories": []}
    for number, (name, boxes) in enumerate(BOXES.items(), 1):
        example(small_recipe(), name, number).image.save(root / f"images/{number}.png")
        lists = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        rows["images"].append({"id": number, "file_name": f"{number}.png", "width": 112, "height": 112, **lists})
        rows["categories"].append({"id": number, "name": name, "frequency": "r"})
        for x1, y1, x2, y2 in boxes:
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            rows["annotations"].append(
                {"id": len(rows["annotations"]) + 1, "image_id": number, "category_id": number, **box}
            )
    io.write_json(root / "annotations.json", rows)
    return root / "policy", root / "images", root / "annotations.json"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "images/b").mkdir(parents=True)
    Image.new("RGB", (90, 60)).save(tmp_path / "images/a.png")
    Image.new("RGB", (60, 90)).save(tmp_path / "images/b/c.jpg")
    return tmp_path / "images"


def test_predict_asks_for_every_category_in_every_image_of_a_folder(small_policy, folder, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    status = main(
        ["--root", str(ROOT), "predict", "--model", str(small_policy), "--images", str(folder), "--output", str(output),
         "--json", "--categories", "cat", "猫"]
    )  # fmt: skip
    assert status == 0
    rows = io.read_jsonl(output)
    assert [(row["file_name"], row["category"]) for row in rows] == [
        ("a.png", "cat"), ("a.png", "猫"), ("b/c.jpg", "cat"), ("b/c.jpg", "猫")
    ]  # fmt: skip
    assert set(rows[0]["rankings"]) == {"likelihood", "certainty"}
    assert json.loads(capsys.readouterr().out)["questions"] == 4
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_image_is_found_by_the_last_part_of_its_listed_name_and_a_missing_one_is_named(answering, tmp_path, capsys):
    weights, images, annotations = answering
    listed = json.loads(annotations.read_text().replace('"1.png"', '"train2017/1.png"'))
    io.write_json(tmp_path / "listed.json", listed)
    command = ["--root", str(ROOT), "predict", "--model", str(weights), "--annotations", str(tmp_path / "listed.json"),
               "--output", str(tmp_path / "out.jsonl"), "--categories", "cat", "--images"]  # fmt: skip
    assert main([*command, str(images)]) == 0
    assert [row["file_name"] for row in io.read_jsonl(tmp_path / "out.jsonl")] == ["train2017/1.png", "2.png", "3.png"]
    assert main([*command, str(tmp_path)]) == 2
    assert "train2017/1.png: no such image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "method", "command"),
    [
        ("lvis-mini-1shot-s0", "rft", "vrft run lvis-mini-1shot-s0"),
        ("lvis-mini", "base", "dvc repro base_eval@lvis-mini"),
    ],
)
def test_a_cell_that_was_not_made_yet_is_told_how(tmp_path, capsys, key, method, command):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    output = ["--output", str(tmp_path / "out.jsonl")]
    assert main(["--root", str(tmp_path), "predict", "--cell", key, "--method", method, *output]) == 2
    assert f"is not there yet; make it with `{command}`" in capsys.readouterr().err


def test_what_predict_writes_evaluate_reads_and_finds_what_the_stage_finds(answering, tmp_path, capsys):
    weights, images, annotations = answering
    output = tmp_path / "out.txt"
    assert main(
        ["--root", str(ROOT), "predict", "--model", str(weights), "--images", str(images), "--output", str(output),
         "--annotations", str(annotations), "--presence", "oracle"]
    ) == 0  # fmt: skip
    truth, rows = Annotations.load(annotations), io.read_jsonl(output)
    assert sum(len(row["boxes"]) for row in rows) > 0
    settings = small_recipe().tasks["detection"].model_copy(update={"presence": "oracle"})
    metrics = get_task("detection").metrics
    asked = (truth, rows, sorted(truth.categories), settings)
    staged = values(metrics.scores(*asked))
    ranked = metrics.details(*asked, lambda models: {name: values(scores) for name, scores in models.items()})
    for ranking, rules in (("stated", "lvis"), ("certainty", "lvis"), ("certainty", "coco")):
        capsys.readouterr()
        assert main(
            ["evaluate", "--rules", rules, "--ground-truth", str(annotations), "--detections", str(output),
             "--ranked-by", ranking, "--json"]
        ) == 0  # fmt: skip
        found = json.loads(capsys.readouterr().out)
        assert found["AP"] == ranked["ranked_by"][ranking][f"{rules}/oracle/AP"]
        if ranking == "certainty":
            for name in ("AP50", "AP75"):
                assert found[name] == staged[f"{rules}/oracle/{name}"]


def values(scores) -> dict[str, float]:
    return dict(zip([metric.name for metric in scores.metrics], scores.values().tolist(), strict=True))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"rankings": {"certainty": []}}, "row 1: is not one of `vrft predict`"),
        ({"boxes": [[0, 0, 5]]}, "row 1: is not one of `vrft predict`"),
        ({"boxes": [[0, 0, 5, "x"]]}, "row 1: is not one of `vrft predict`"),
        ({"file_name": "b.png"}, "row 1: file_name 'b.png' has the id of '1.png' in the ground truth; predict with"),
        ({"category": "dog"}, "row 1: category 'dog' has the id of 'cat' in the ground truth"),
        ({"rankings": {}}, "no scores called 'certainty'"),
    ],
)
def test_predictions_that_cannot_be_evaluated_are_refused_in_one_line(answering, tmp_path, capsys, change, fault):
    row = {"image_id": 1, "category_id": 1, "boxes": [[0, 0, 5, 5]], "scores": [1], "rankings": {"certainty": [1]}}
    io.write_jsonl(tmp_path / "out.jsonl", [row | change])
    paths = ["--ground-truth", str(answering[2]), "--detections", str(tmp_path / "out.jsonl")]
    assert main(["evaluate", "--rules", "coco", *paths, "--ranked-by", "certainty"]) == 2
    err = capsys.readouterr().err
    assert fault in err and err.count("\n") == 1


@pytest.fixture
def project(small_policy, tmp_path) -> list[str]:
    """A project with nothing but the policy of the recipe mini; → how a command on its cell begins."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(small_policy, tmp_path / "models/mini/policy")
    return ["--root", str(tmp_path), "predict", "--cell", "lvis-mini", "--method", "base"]


def test_a_cells_model_answers_for_images_of_ones_own(project, folder, tmp_path):
    output = tmp_path / "out.jsonl"
    assert main([*project, "--images", str(folder), "--categories", "cat", "--output", str(output)]) == 0
    assert [(row["file_name"], row["category"]) for row in io.read_jsonl(output)] == [
        ("a.png", "cat"), ("b/c.jpg", "cat")
    ]  # fmt: skip
    assert main([*project, "--images", str(folder / "b/c.jpg"), "--categories", "dog", "--output", str(output)]) == 0
    assert [(row["file_name"], row["category"]) for row in io.read_jsonl(output)] == [("c.jpg", "dog")]


def test_a_cells_model_is_asked_for_the_cells_categories_by_default(project, folder):
    params = load_params(ROOT / "params.yaml")
    layout, cell = Layout(Path(project[1])), params.parse_cell("lvis-mini")
    with pytest.raises(InputError, match="data/raw/lvis-embedded: is not there yet"):
        cell_on_files_request(layout, params, cell, "base", folder, None, None)
    rows = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]}
    io.write_json(layout.raw(cell) / "annotations.json", rows)
    request = cell_on_files_request(layout, params, cell, "base", folder, None, None)
    assert [request.annotations.categories[i]["name"] for i in request.categories] == ["dog", "cat"]
    assert request.model == layout.policy(cell) and request.adapter is None
    assert len(request.examples(None)) == 4


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--recipe", "mini"], "--recipe: belongs to --model, and --cell lvis-mini has its own"),
        (["--adapter", "x"], "--adapter: belongs to --model, and --cell lvis-mini has its own"),
        (["--annotations", "a.json"], "--annotations: lists images that are not given; give their folder as --images"),
    ],
)
def test_options_that_a_cell_would_ignore_are_refused(project, tmp_path, capsys, arguments, fault):
    assert main([*project, "--output", str(tmp_path / "out.jsonl"), *arguments]) == 2
    err = capsys.readouterr().err
    assert fault in err and err.count("\n") == 1


def test_one_image_and_annotations_do_not_go_together(answering, tmp_path, capsys):
    weights, images, annotations = answering
    files = ["--images", str(images / "1.png"), "--annotations", str(annotations)]
    output = ["--output", str(tmp_path / "out.jsonl")]
    assert main(["--root", str(ROOT), "predict", "--model", str(weights), *files, *output]) == 2
    assert "with --annotations give the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "no categories to look for"),
        (["--categories", "cat", "--presence", "self"], "needs true annotations"),
        (["--categories", "cat", "--recipe", "huge"], "no recipe 'huge'"),
        (["--categories", "cat", "--images", "nowhere"], "nowhere: no such file or folder"),
        (["--categories", "cat", "--method", "sft"], "--method: belongs to --cell"),
        (["--categories", "cat", "\udcff"], "is not a printable name"),
    ],
)
def test_predict_names_what_is_missing(small_policy, folder, tmp_path, capsys, arguments, fault):
    output = tmp_path / "out.jsonl"
    common = ["--root", str(ROOT), "predict", "--model", str(small_policy), "--images", str(folder)]
    assert main([*common, "--output", str(output), *arguments]) == 2
    assert fault in capsys.readouterr().err
    assert not output.exists()


def test_a_model_that_cannot_say_yes_or_no_makes_no_map(small_policy, folder, tmp_path, capsys):
    output = tmp_path / "map.json"
    status = main(
        ["--root", str(ROOT), "presence", "--model", str(small_policy), "--images", str(folder), "--categories", "cat",
         "--output", str(output)]
    )  # fmt: skip
    assert status == 2
    [refusal] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vrft: ")]
    assert "answered neither yes nor no to any of 2 questions" in refusal
    assert not output.exists()


@pytest.mark.slow
def test_a_model_that_says_yes_or_no_makes_a_map_by_which_predict_asks(tmp_path, capsys):
    tokenizer = detection_tokenizer(["cat", "dog"])
    processor = build_processor(tokenizer, PATCH_SIZE, 784, 12544)
    size = {"hidden_size": 32, "layers": 2, "heads": 2, "vision_size": 24, "vision_layers": 1, "vision_heads": 2}
    model, seen = build_model(tokenizer, 0, **size), Image.new("RGB", (90, 60))
    said = {"cat": "yes", "dog": "no"}
    form, lesson = Form.of(small_recipe()), []
    for name, text in said.items():
        lesson.append(Example(name, 1, 90, 60, seen, name, existence_question(name), text, '{"category_id": 1}'))
    for _ in range(8):  # until it has learned it
        teach(model, processor, lesson)
        if claim(model, processor, lesson, form, batch_size=2) == ({"1": ["cat"]}, 0):
            break
    policy.save(tmp_path / "policy", model, processor)
    (tmp_path / "images").mkdir()
    seen.save(tmp_path / "images/a.png")
    common = ["--model", str(tmp_path / "policy"), "--images", str(tmp_path / "images"), "--categories", *said]
    output, made = tmp_path / "out.jsonl", tmp_path / "map.json"

    assert main(["--root", str(ROOT), "presence", *common, "--output", str(made), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert io.read_json(made) == {"1": ["cat"]}
    assert (found["present"], found["unclear"], found["sha256"]) == (1, 0, io.sha256(made))

    assert main(["--root", str(ROOT), "predict", *common, "--presence", str(made), "--output", str(output)]) == 0
    assert [row["category"] for row in io.read_jsonl(output)] == ["cat"]
