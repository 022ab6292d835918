"""The embedded data source of classification: one animal an image, in families of look-alikes."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_length

from vrft_core import annotations
from vrft_core.errors import InputError
from vrft_core.params import IconScenes
from vrft_core.sources.scenes import backgrounds, icons
from vrft_core.sources.scenes.glyphs import sprite

ROOT = Path(__file__).parents[1]
LVIS = ROOT.parent / "shared/data/lvis_v1_categories.json"
SETTINGS = IconScenes(
    image_size=112,
    images={"train": 400, "val": 32, "eval": 50},
    categories={"f": ["cow", "cat"], "c": ["bull", "domestic_ass"], "r": ["water_buffalo", "tiger", "leopard"]},
    seed=3,
)
SPLITS = ("train", "val", "eval")


def with_(**changes) -> IconScenes:
    return IconScenes.model_validate(SETTINGS.model_dump() | changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("icons") / "raw"
    icons.write(directory, SETTINGS)
    return directory


@pytest.fixture(scope="module")
def data(written) -> dict:
    return json.loads((written / "annotations.json").read_text())


def digest(directory: Path) -> str:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f.relative_to(directory)).encode() + f.read_bytes() for f in files)).hexdigest()


# One image


@pytest.mark.parametrize("split", [*SPLITS, "pretraining"])
def test_one_object_an_image_whose_box_is_the_extent_of_its_mask(split):
    for index in range(30):
        [thing] = icons.scene(SETTINGS, split, index).objects
        rows, columns = np.nonzero(thing.mask)
        assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert max(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) >= 25


def test_the_mask_covers_the_pixels_that_differ_from_the_background(monkeypatch):
    seen = []

    def remembered(*arguments):
        seen.append(backgrounds.background(*arguments))
        return seen[-1].copy()

    monkeypatch.setattr(icons, "background", remembered)
    for index in range(20):
        drawn = icons.scene(SETTINGS, "eval", index)
        changed, mask = (drawn.image != np.asarray(seen[-1])).any(2), drawn.objects[0].mask
        near = np.any([np.roll(mask, (y, x), (0, 1)) for y in (-2, -1, 0, 1, 2) for x in (-2, -1, 0, 1, 2)], axis=0)
        assert changed[mask].mean() > 0.98
        assert not (changed & ~near).any()


def test_evaluation_is_drawn_further_from_the_glyph_than_training():
    def boxes(split):
        return [icons.scene(SETTINGS, split, i).objects[0].box for i in range(50)]

    def at_border(split):
        return sum(x1 == 0 or y1 == 0 or x2 == 112 or y2 == 112 for x1, y1, x2, y2 in boxes(split)) / 50

    def smallest(split):
        return min(max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes(split))

    assert at_border("train") < 0.1 < at_border("eval")
    assert smallest("eval") < smallest("train")
    assert icons.LOOKS["val"] == icons.LOOKS["eval"] != icons.LOOKS["train"] == icons.LOOKS["pretraining"]


def test_pretraining_shows_every_class_equally_often_and_has_no_end():
    counts = Counter(icons.scene(SETTINGS, "pretraining", i).objects[0].category for i in range(5000, 5280))
    assert set(counts) == set(SETTINGS.names)
    assert max(counts.values()) < 2 * min(counts.values())


def test_a_split_ends():
    with pytest.raises(IndexError):
        icons.scene(SETTINGS, "eval", 50)


def test_splits_share_no_image_and_no_photograph(monkeypatch):
    used, original = defaultdict(set), backgrounds._photograph
    images = Counter()
    for split in (*SPLITS, "pretraining"):
        monkeypatch.setattr(
            backgrounds, "_photograph", lambda name, split=split: used[split].add(name) or original(name)
        )
        images.update(icons.scene(SETTINGS, split, i).image.tobytes() for i in range(30))
    assert set(images.values()) == {1}
    assert used["pretraining"] <= set(backgrounds.PHOTOGRAPHS["train"])
    assert all(used[split] for split in SPLITS)
    assert not (used["train"] & used["val"] or used["train"] & used["eval"] or used["val"] & used["eval"])


# A written data set


@pytest.mark.slow
def test_the_same_settings_write_the_same_bytes_in_another_process(written, tmp_path):
    code = (
        "import sys, pathlib; from vrft_core.params import IconScenes; from vrft_core.sources.scenes import icons;"
        "icons.write(pathlib.Path(sys.argv[1]), IconScenes.model_validate_json(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again"), SETTINGS.model_dump_json()],
        check=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    assert digest(tmp_path / "again") == digest(written)


def test_another_seed_draws_other_images():
    assert (icons.scene(SETTINGS, "val", 0).image != icons.scene(with_(seed=4), "val", 0).image).any()


def test_an_annotation_says_what_its_image_shows(written, data):
    ids = {row["name"]: row["id"] for row in data["categories"]}
    rows = {row["image_id"]: row for row in data["annotations"]}
    assert len(rows) == len(data["annotations"]) == len(data["images"])
    for split in SPLITS:
        image = [image for image in data["images"] if image["split"] == split][7]
        drawn, row = icons.scene(SETTINGS, split, 7), rows[image["id"]]
        with Image.open(written / "images" / image["file_name"]) as file:
            assert (np.asarray(file) == drawn.image).all()
        assert image["sha256"] == hashlib.sha256((written / "images" / image["file_name"]).read_bytes()).hexdigest()
        assert row["category_id"] == ids[drawn.objects[0].category]
        assert annotations.xyxy(row["bbox"]) == list(drawn.objects[0].box)
        assert (run_length.decode(row["segmentation"]) == drawn.objects[0].mask).all()
        assert row["area"] == drawn.objects[0].mask.sum()
        assert row["iscrowd"] == 0


def test_all_other_classes_are_absent(data):
    ids = {row["id"] for row in data["categories"]}
    index = annotations.Annotations.from_dict(data)
    for image in data["images"]:
        assert set(image["neg_category_ids"]) == ids - set(index.category_ids(image["id"]))
        assert image["not_exhaustive_category_ids"] == []


def test_every_class_gets_the_letter_it_stands_under(data):
    train = {image["id"] for image in data["images"] if image["split"] == "train"}
    counts = Counter(row["category_id"] for row in data["annotations"] if row["image_id"] in train)
    for row in data["categories"]:
        assert row["name"] in SETTINGS.categories[row["frequency"]]
        assert row["image_count"] == row["instance_count"] == counts[row["id"]]
        assert row["frequency"] == annotations.frequency(counts[row["id"]])


@pytest.mark.parametrize("split", ["val", "eval"])
def test_val_and_eval_show_every_class_about_equally_often(data, split):
    chosen = {image["id"] for image in data["images"] if image["split"] == split}
    counts = Counter(row["category_id"] for row in data["annotations"] if row["image_id"] in chosen)
    assert len(counts) == 7
    assert max(counts.values()) - min(counts.values()) <= 1


def test_synonyms_are_written_with_the_name_first(data):
    [donkey] = [row for row in data["categories"] if row["name"] == "domestic_ass"]
    assert donkey["synonyms"] == ["domestic_ass", "donkey"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": {"f": ["cat"], "c": [], "r": ["unicorn"]}}, "no icon depicts 'unicorn'"),
        ({"categories": {"f": ["cat"], "c": ["cat"], "r": []}}, "'cat' is named twice"),
        ({"categories": {"f": [], "c": ["cat"], "r": []}}, r"embedded\.categories\.f: no category"),
        ({"images": {"train": 150, "val": 1, "eval": 1}}, r"embedded\.images\.train: 150 images cannot show"),
    ],
)
def test_impossible_settings_are_refused_by_name_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        icons.write(tmp_path / "raw", with_(**changes))
    assert list(tmp_path.iterdir()) == []


def test_the_remedy_for_too_few_images_works(tmp_path):
    with pytest.raises(InputError) as refused:
        icons.scene(with_(images={"train": 150, "val": 1, "eval": 1}), "train", 0)
    enough = int(str(refused.value).split("take ")[1].split()[0])
    assert icons.scene(with_(images={"train": enough, "val": 1, "eval": 1}), "train", enough - 1).objects


# The table


def test_a_look_alike_is_of_the_same_family_and_in_play():
    assert icons.look_alike(SETTINGS, "leopard") == "cat"
    assert icons.look_alike(SETTINGS, "bull") == "cow"
    assert icons.look_alike(SETTINGS, "cow") == "bull"
    assert icons.look_alike(SETTINGS, "domestic_ass") == "domestic_ass"


def test_no_two_classes_share_a_glyph_a_number_or_a_name():
    table = icons.icons().values()
    assert len({sprite(icon.glyph).tobytes() for icon in table}) == len(table) >= 16
    assert len({icon.id for icon in table}) == len(table)
    names = [name for icon in table for name in (icon.name, *icon.synonyms)]
    assert len(set(names)) == len(names)


def test_ids_names_and_synsets_are_those_of_lvis_and_others_lie_outside_its_numbers():
    if not LVIS.exists():
        pytest.skip(f"needs the LVIS v1 category list at {LVIS}")
    lvis = {row["name"]: row for row in json.loads(LVIS.read_text())}
    for icon in icons.icons().values():
        if icon.name in lvis:
            assert (icon.id, icon.synset) == (lvis[icon.name]["id"], lvis[icon.name]["synset"])
        else:
            assert icon.id > 2000


@pytest.mark.slow
def test_an_image_takes_less_than_ten_milliseconds():
    icons.scene(SETTINGS, "eval", 0)

    def seconds() -> float:
        start = time.process_time()
        for index in range(50):
            icons.scene(SETTINGS, "eval", index)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) / 50 < 0.01
