"""`vrft doctor`: each thing that would go wrong is found by its check, and nothing else is."""

import json
import re
from io import BytesIO
from pathlib import Path

import official_layouts as layouts
import pytest
from own_data import init, project
from PIL import Image
from small_policy import detection_tokenizer, taught_policy
from small_project import edit_params
from test_files import edit

from vrft_core import near_duplicates, policy
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.cell_examples import Subject
from vrft_core.commands.checkups import data, machine
from vrft_core.commands.checkups import policy as policy_checks
from vrft_core.commands.doctor import CHECKS, doctor, failed, table
from vrft_core.errors import InputError
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.tasks import get_task, load_params

KEY = "my-data-mini-2shot-s0"
PHOTOS = Path(__file__).parents[1] / "../shared/data/coco_photos"


@pytest.fixture
def root(tmp_path) -> Path:
    return project(tmp_path / "project")


def subject(root: Path, key: str = KEY) -> Subject:
    params = load_params(root / "params.yaml")
    return Subject(Layout(root), params, params.parse_cell(key))


def prepared(root: Path, *more: str) -> Subject:
    """The user's data as a benchmark of two shots, its raw data made."""
    assert init(root, "--shots", "2", *more) == 0
    assert main(["--root", str(root), "stage", "raw", "--cell", "my-data-own"]) == 0
    return subject(root)


def test_every_check_gives_a_level_a_sentence_and_a_remedy_where_it_is_not_ok(root):
    one = prepared(root)
    rows = doctor(one.layout, one.params, one.cell)

    assert [row["check"] for row in rows] == list(CHECKS)
    assert all(row["level"] in ("ok", "warn", "fail") and row["said"] and "\n" not in row["said"] for row in rows)
    assert all(row["remedy"] for row in rows if row["level"] != "ok")
    assert json.loads(json.dumps(rows)) == rows
    assert failed(rows), "six small evaluation images"
    lines = table(rows, one.cell)
    assert lines[-1].startswith(f"{KEY}: ")
    assert sum(line.startswith("fail") for line in lines) == sum(row["level"] == "fail" for row in rows)


def test_what_several_checks_in_a_row_have_found_is_said_once(root):
    assert init(root) == 0
    one = subject(root, "my-data-mini-1shot-s0")

    lines = table(doctor(one.layout, one.params, one.cell), one.cell)

    assert sum("annotations.json: no such file" in line for line in lines) == 1
    assert sum("make it: vrft stage raw --cell my-data-own" in line for line in lines) == 1
    assert sum(line.endswith("for the same reason") for line in lines) >= 5


def test_without_data_or_weights_it_says_how_to_make_them_and_fails_nothing(root):
    init(root, "--shots", "2")
    one = subject(root)
    rows = {row["check"]: row for row in doctor(one.layout, one.params, one.cell)}

    for name in (
        "evaluation images",
        "categories",
        "box sizes",
        "near-duplicates",
        "contradictions",
        "lengths",
        "names",
    ):
        assert rows[name]["level"] == "warn"
        assert rows[name]["remedy"] == "make it: vrft stage raw --cell my-data-own"
    assert rows["first answers"]["remedy"].startswith("make it: vrft stage policy --cell mini")
    assert not failed([*rows.values()])


def test_on_the_command_line_it_prints_a_table_or_json_and_ends_with_1_if_a_check_fails(root, capsys):
    prepared(root)
    capsys.readouterr()

    assert main(["--root", str(root), "doctor", KEY]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("ok    settings")
    assert "evaluation images" in "".join(said)

    assert main(["--root", str(root), "doctor", KEY, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["cell"] == KEY
    assert [row["check"] for row in found["checks"]] == list(CHECKS)


def test_only_a_cell_can_be_examined(root):
    params = load_params(root / "params.yaml")
    with pytest.raises(InputError, match="names a study"):
        doctor(Layout(root), params, params.parse_cell("lvis-mini-1shot"))


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "level", "half"), [(6, "fail", "40.0"), (100, "warn", "9.8"), (500, "ok", "4.4")])
def test_few_evaluation_images_cannot_show_a_difference(root, images, level, half):
    one = prepared(root)
    row = one.annotations.split("eval").images[101]
    rest = {i: image for i, image in one.annotations.images.items() if image["split"] != "eval"}
    one.annotations.images.clear()
    one.annotations.images.update(rest | {1000 + i: row | {"id": 1000 + i} for i in range(images)})
    one.annotations.by_image.update({1000 + i: [] for i in range(images)})

    found = data.evaluation_images(one)

    assert found.level == level
    assert f"{images} evaluation images: differences are known to about ± {half} points" == found.said
    assert found.remedy == ("to see differences of 10 points evaluate on 97 images or more, of 5 points on 385 or more")


def test_categories_with_one_evaluation_image_are_named(root, capsys):
    """Image 102 is the only one of the evaluation that shows a mug."""

    def rare(data: dict) -> None:
        data["annotations"] = [a for a in data["annotations"] if a["category_id"] != 5 or a["image_id"] == 102]

    edit(root, "eval", rare)
    found = data.categories(prepared(root))
    assert (found.level, found.said) == ("warn", "1 of 3 categories are in one evaluation image at most: mug")
    assert "warning: in one evaluation image only: mug" in capsys.readouterr().out


def test_every_category_in_two_evaluation_images_is_enough_to_say_nothing(root, capsys):
    assert data.categories(prepared(root)).level == "ok"
    assert "in one evaluation image only" not in capsys.readouterr().out


def test_boxes_narrower_than_a_visual_patch_are_counted_after_resizing(root):
    small = data.box_sizes(prepared(root))
    assert small.level != "ok"

    edit_params(root, lambda p: p["recipes"]["mini"]["policy"].update(min_pixels=50_000, max_pixels=100_000))
    large = data.box_sizes(subject(root))
    assert large.level == "ok"
    assert large.said.startswith("0 of ")


def test_a_training_image_that_looks_like_an_evaluated_one_is_named(root):
    for i, folder in ((1, "train"), (101, "eval")):
        (root / f"photos/{folder}/{i}.jpg").write_bytes(layouts.photo(7, (32, 24)))
    for i in range(2, 13):
        (root / f"photos/train/{i}.jpg").write_bytes(layouts.photo(i * 31, (32, 24)))
    with Image.open(root / "photos/eval/101.jpg") as image:
        image.save(root / "photos/eval/101.jpg", quality=60)
    edit_params(root, lambda p: p["recipes"]["mini"]["few_shot"].update(when_short="all"))
    init(root, "--shots", "20")
    main(["--root", str(root), "stage", "raw", "--cell", "my-data-own"])

    one = subject(root, "my-data-mini-20shot-s0")
    if 1 not in {image for image, _ in one.pairs}:
        pytest.skip("image 1 is a validation image")
    found = data.near_duplicates(one)
    assert found.level == "warn"
    assert found.said.startswith("1 of ")
    assert "101" in found.said


CONTRADICTIONS = {
    "detection": (
        [{"category_id": 1, "bbox": [1, 2, 3, 4]}, {"category_id": 2, "bbox": [1.1, 2, 3, 4.1]}],
        "a.jpg: one box is 'cat' and 'dog'",
    ),
    "classification": ([{"category_id": 1, "bbox": []}, {"category_id": 2, "bbox": []}], "a.jpg is 'cat' and a.jpg is"),
    "grounding": (
        [{"category_id": 1, "bbox": [1, 2, 3, 4], "expression": "The  cat"},
         {"category_id": 1, "bbox": [9, 2, 3, 4], "expression": "the cat"}],
        "a.jpg: 'the cat' means 2 regions",
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", list(CONTRADICTIONS))
def test_labels_that_contradict_each_other_are_named(task):
    rows, words = CONTRADICTIONS[task]
    truth = Annotations(
        {1: {"id": 1, "file_name": "a.jpg", "sha256": "x"}, 2: {"id": 2, "file_name": "b.jpg", "sha256": "y"}},
        {1: {"name": "cat"}, 2: {"name": "dog"}},
        {1: rows, 2: rows[:1]},
    )
    [(images, said)] = get_task(task).commands.contradictions(truth)
    assert images == {1}
    assert words in said
    truth.by_image[1].pop()
    assert get_task(task).commands.contradictions(truth) == []


def test_the_same_bytes_with_another_class_contradict_each_other():
    images = {i: {"id": i, "file_name": f"{i}.jpg", "sha256": "same"} for i in (1, 2)}
    rows = {i: [{"category_id": i, "bbox": []}] for i in (1, 2)}
    truth = Annotations(images, {1: {"name": "cat"}, 2: {"name": "dog"}}, rows)
    assert get_task("classification").commands.contradictions(truth) == [
        ({1, 2}, "1.jpg is 'cat' and 2.jpg is 'dog', with the same bytes")
    ]


def test_a_contradiction_in_a_few_shot_image_fails_and_elsewhere_warns(root):
    """The images of this data set show two or three categories, each in the same two boxes."""
    one = prepared(root)
    assert data.contradictions(one).level == "fail"
    assert "of them in few-shot images: " in data.contradictions(one).said

    one.pairs.clear()
    assert data.contradictions(one).level == "warn"

    one.annotations.by_image.update({i: rows[:1] for i, rows in one.annotations.by_image.items()})
    assert data.contradictions(one).level == "ok"


# --- the look of images ----------------------------------------------------------------------------------------------


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_smaller_and_recompressed_copies_look_alike_and_others_do_not(tmp_path):
    pictures = {f"{i}": Image.open(BytesIO(layouts.photo(i, (256, 192)))) for i in range(30)}
    ours = {n: near_duplicates.fingerprint(saved(tmp_path / f"{n}.png", p)) for n, p in pictures.items()}
    copies = {
        n: near_duplicates.fingerprint(saved(tmp_path / f"{n}.jpg", p.resize((128, 96)), quality=40))
        for n, p in pictures.items()
    }
    assert {(a, b) for a, b, _ in near_duplicates.alike(ours, copies)} == {(n, n) for n in pictures}
    assert [row[2] for row in near_duplicates.alike(ours, ours)] == [0] * len(ours)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/coco_photos")
def test_no_two_of_183_photographs_look_alike():
    files = sorted(PHOTOS.rglob("*.jpg"))
    looks = {path.name: near_duplicates.fingerprint(path) for path in files}
    assert [row for row in near_duplicates.alike(looks, looks) if row[0] != row[1]] == []


def test_an_image_of_one_colour_looks_like_none_and_no_image_is_refused(tmp_path):
    flat = near_duplicates.fingerprint(saved(tmp_path / "a.png", Image.new("RGB", (64, 64), "grey")))
    assert flat is None
    assert near_duplicates.alike({"a": flat}, {"b": flat}) == []
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"b\.png: does not decode"):
        near_duplicates.fingerprint(tmp_path / "b.png")


# --- policy ----------------------------------------------------------------------------------------------------------


def test_answers_that_would_be_cut_fail(root):
    prepared(root)
    edit_params(root, lambda p: p["recipes"]["mini"]["rft"].update(max_completion_length=9))
    found = policy_checks.lengths(subject(root))
    assert found.level == "fail"
    assert "rft.max_completion_length cuts answers at 9" in found.said
    assert found.remedy == "raise recipes.mini.rft.max_completion_length"


def test_labels_of_many_tokens_are_counted(root):
    for split in ("train", "eval"):
        edit(root, split, lambda d: d["categories"][0].update(name="xylophagous quartzite zygote"))
    found = policy_checks.names(prepared(root))
    assert found.level in ("warn", "fail")
    assert "xylophagous quartzite zygote" in found.said
    assert found.remedy.startswith("the names may be as they are: this small policy spells")


@pytest.mark.slow
def test_the_first_answers_of_a_taught_policy_differ_and_those_of_random_weights_earn_nothing(root):
    one = prepared(root)
    weights = one.layout.policy(one.cell)
    taught_policy(weights, root / "prompts")
    found = policy_checks.first_answers(one)
    assert "groups of 8 answers have equal rewards" in found.said
    assert found.level in ("ok", "warn")
    assert re.search(r"something is found for [1-6] of \d questions about what is there", found.said)
    assert policy_checks.first_answers(one) == found, "the same answers are drawn each time"

    for rows in one.annotations.by_image.values():
        for row in rows:
            row["bbox"] = [0, 0, 1, 1]
    found = policy_checks.first_answers(one)
    assert found.level == "fail"
    assert "this model finds nothing: no answer to 6 questions about what is there is right" in found.said

    tokenizer = detection_tokenizer(["cat"])
    sizes = {"hidden_size": 32, "layers": 1, "heads": 2, "vision_size": 24, "vision_layers": 1, "vision_heads": 2}
    policy.save(weights, build_model(tokenizer, 0, **sizes), build_processor(tokenizer, PATCH_SIZE, 784, 12544))
    found = policy_checks.first_answers(one)
    assert found.level == "fail"
    assert found.said.endswith("no answer earns anything")


# --- the machine -----------------------------------------------------------------------------------------------------


def test_a_missing_package_fails(root):
    edit_params(root, lambda p: p["recipes"]["mini"]["rft"].update(generation="vllm_colocate"))
    found = machine.packages(subject(root, "lvis-mini-1shot-s0"))
    if machine.find_spec("vllm"):
        pytest.skip("vllm is installed here")
    assert (found.level, found.said, found.remedy) == ("fail", "not installed: vllm", "pip install vllm")


@pytest.mark.parametrize(("free", "level"), [(10**6, "fail"), (10**12, "ok")])
def test_disk_and_memory_are_compared_with_what_the_trainings_need(root, monkeypatch, free, level):
    one = subject(root, "lvis-mini-1shot-s0")
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(machine, "ram", lambda: free)
    monkeypatch.setattr(machine.torch.cuda, "is_available", lambda: False)
    assert machine.disk(one).level == level
    assert machine.memory(one).level == level


def test_a_large_model_without_a_gpu_is_a_warning(root, monkeypatch):
    from vrft_core.commands.add import add

    add(root, "pets37", "qwen2-vl-7b", [4], [0])
    monkeypatch.setattr(machine.torch.cuda, "is_available", lambda: False)
    found = machine.memory(subject(root, "pets37-qwen2-vl-7b-4shot-s0"))
    assert found.level == "warn"
    assert found.said.startswith("no GPU here; training needs about 1")
