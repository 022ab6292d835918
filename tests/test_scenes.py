"""The embedded data source: drawn scenes and what is written about them."""

import hashlib
import json
import os
import random
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
from vrft_core.params import Scenes
from vrft_core.sources import scenes
from vrft_core.sources.scenes import backgrounds, glyphs
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]
LVIS = ROOT.parent / "shared/data/lvis_v1_categories.json"
SETTINGS = Scenes(
    image_size=112,
    images={"train": 300, "val": 30, "eval": 60},
    max_objects=3,
    same_category=0.5,
    glyphs=2,
    categories={"f": ["cat"], "c": ["bear", "giant_panda"], "r": ["tiger", "wolf"]},
    seed=3,
)
SPLITS = ("train", "val", "eval")


def with_(**changes) -> Scenes:
    return Scenes.model_validate(SETTINGS.model_dump() | changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("scenes") / "raw"
    scenes.write(directory, SETTINGS)
    return directory


@pytest.fixture(scope="module")
def data(written) -> dict:
    return json.loads((written / "annotations.json").read_text())


@pytest.fixture(scope="module")
def all_marked(tmp_path_factory) -> dict:
    """The same with fewer validation images, every image marked not exhaustive that may be."""
    directory = tmp_path_factory.mktemp("scenes") / "raw"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes.dataset, "NOT_EXHAUSTIVE_SHARE", 1.0)
        scenes.write(directory, with_(images={"train": 300, "val": 10, "eval": 60}))
    return json.loads((directory / "annotations.json").read_text())


def digest(directory: Path) -> str:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f.relative_to(directory)).encode() + f.read_bytes() for f in files)).hexdigest()


# One scene


def test_a_box_is_the_extent_of_what_is_seen_of_its_object():
    for index in range(60):
        for thing in scenes.scene(SETTINGS, "train", index).objects:
            rows, columns = np.nonzero(thing.mask)
            assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.slow
def test_masks_are_modal_no_pixel_belongs_to_two_objects():
    crowded = with_(max_objects=5)
    drawn = [scenes.scene(crowded, "train", index) for index in range(60)]
    touching = 0
    for scene in drawn:
        assert sum(thing.mask.astype(int) for thing in scene.objects).max() == 1
        boxes = [thing.box for thing in scene.objects]
        touching += any(
            a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a in boxes for b in boxes if a != b
        )
    assert touching > 10, "objects must sometimes stand before one another"


def test_a_mask_covers_what_was_pasted_and_nothing_else():
    for index in range(30):
        scene = scenes.scene(SETTINGS, "eval", index)
        shown = frozenset(name for names in SETTINGS.categories.values() for name in names)
        rng = random.Random(f"scene/{SETTINGS.seed}/eval/{index}")
        changed = (scene.image != np.asarray(backgrounds.background("eval", 112, shown, rng))).any(2)
        covered = np.any([thing.mask for thing in scene.objects], axis=0)
        near = np.any(
            [np.roll(covered, (dy, dx), (0, 1)) for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)], axis=0
        )
        assert changed[covered].mean() > 0.98
        assert not (changed & ~near).any()


def test_objects_keep_a_size_a_small_policy_can_see_and_some_are_cut_by_the_border():
    boxes = [thing.box for i in range(200) for thing in scenes.scene(SETTINGS, "train", i).objects]
    longer = [max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes]
    assert min(longer) > 18
    assert max(longer) < 75
    at_border = sum(x1 == 0 or y1 == 0 or x2 == 112 or y2 == 112 for x1, y1, x2, y2 in boxes)
    assert 0.02 < at_border / len(boxes) < 0.4


def test_same_category_is_the_chance_that_a_further_object_repeats_the_first():
    def share(same: float) -> float:
        drawn = [scenes.scene(with_(same_category=same), "eval", i).objects for i in range(60)]
        several = [things for things in drawn if len(things) > 1]
        return sum(len({thing.category for thing in things}) == 1 for things in several) / len(several)

    assert share(0.0) == 0
    assert 0.3 < share(0.5) < 0.7
    assert share(1.0) == 1


def test_pretraining_draws_mostly_frequent_categories_and_has_no_end():
    counts = Counter(
        t.category for i in range(10_000, 10_150) for t in scenes.scene(SETTINGS, "pretraining", i).objects
    )
    assert counts["cat"] > counts["bear"] > counts["wolf"]


def test_as_many_objects_as_are_allowed_find_room():
    crowded = with_(max_objects=5, same_category=0.0)
    assert max(len(scenes.scene(crowded, "eval", index).objects) for index in range(40)) == 5


# Backgrounds


def test_splits_share_neither_photograph_nor_pattern(monkeypatch):
    used, original = defaultdict(set), backgrounds._photograph

    def spy(split):
        def photograph(name):
            used[split].add(name)
            return original(name)

        return photograph

    for split in (*SPLITS, "pretraining"):
        monkeypatch.setattr(backgrounds, "_photograph", spy(split))
        for index in range(30):
            scenes.scene(SETTINGS, split, index)
    assert used["pretraining"] <= set(backgrounds.PHOTOGRAPHS["train"])
    for split in SPLITS:
        assert used[split]
        for other in SPLITS:
            if other != split:
                assert not used[split] & used[other]
                assert not set(backgrounds.PATTERNS[split]) & set(backgrounds.PATTERNS[other])


@pytest.mark.slow
def test_no_scene_is_drawn_twice(data):
    hashes = [image["sha256"] for image in data["images"]]
    pretraining = {scenes.scene(SETTINGS, "pretraining", i).image.tobytes() for i in range(100)}
    train = {scenes.scene(SETTINGS, "train", i).image.tobytes() for i in range(100)}
    assert len(set(hashes)) == len(hashes)
    assert len(pretraining) == len(train) == 100
    assert not pretraining & train


def test_a_photograph_that_shows_a_category_in_play_is_not_used(monkeypatch):
    used, original = set(), backgrounds._photograph
    monkeypatch.setattr(backgrounds, "_photograph", lambda name: used.add(name) or original(name))
    people = with_(categories=SETTINGS.categories | {"f": ["person"]})
    for index in range(60):
        scenes.scene(people, "eval", index)
    assert used == {"grass.png", "retina.jpg"}
    for things in (things for split in backgrounds.PHOTOGRAPHS.values() for things in split.values()):
        assert set(things) <= set(scenes.vocabulary())


# A written data set


@pytest.mark.slow
def test_the_same_settings_write_the_same_bytes_in_another_process(written, tmp_path):
    code = (
        "import sys, pathlib; from vrft_core.sources import scenes; from vrft_core.params import Scenes;"
        "scenes.write(pathlib.Path(sys.argv[1]), Scenes.model_validate_json(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again"), SETTINGS.model_dump_json()],
        check=True, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "12345"},
    )  # fmt: skip
    assert digest(tmp_path / "again") == digest(written)


def test_another_seed_writes_other_scenes():
    assert (scenes.scene(SETTINGS, "val", 0).image != scenes.scene(with_(seed=4), "val", 0).image).any()


def test_a_file_holds_the_scene_of_its_number(written, data):
    for split in SPLITS:
        image = [image for image in data["images"] if image["split"] == split][7]
        with Image.open(written / "images" / image["file_name"]) as file:
            assert (np.asarray(file) == scenes.scene(SETTINGS, split, 7).image).all()
        assert image["sha256"] == hashlib.sha256((written / "images" / image["file_name"]).read_bytes()).hexdigest()


def test_annotations_agree_with_their_masks(data):
    for row in data["annotations"]:
        mask = run_length.decode(row["segmentation"])
        rows, columns = np.nonzero(mask)
        assert mask.shape == (112, 112)
        assert row["area"] == mask.sum() > 0
        assert annotations.xyxy(row["bbox"]) == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_every_category_gets_the_letter_it_stands_under(data):
    letters = {row["name"]: row["frequency"] for row in data["categories"]}
    assert letters == {name: band for band, names in SETTINGS.categories.items() for name in names}
    train = {image["id"] for image in data["images"] if image["split"] == "train"}
    for category in data["categories"]:
        rows = [r for r in data["annotations"] if r["category_id"] == category["id"] and r["image_id"] in train]
        assert category["instance_count"] == len(rows)
        assert category["image_count"] == len({r["image_id"] for r in rows})
        assert category["frequency"] == annotations.frequency(category["image_count"])


def test_bands_have_a_long_tail_inside(data):
    count = {row["name"]: row["image_count"] for row in data["categories"]}
    assert count["cat"] > 100 >= count["bear"] > 2 * count["giant_panda"] > 20
    assert 10 >= count["tiger"] > count["wolf"] >= 4


@pytest.mark.parametrize("split", ["val", "eval"])
def test_val_and_eval_show_every_category_about_equally_often(data, split):
    chosen = {image["id"] for image in data["images"] if image["split"] == split}
    counts = Counter(
        c for _, c in {(r["image_id"], r["category_id"]) for r in data["annotations"] if r["image_id"] in chosen}
    )
    assert len(counts) == 5
    assert max(counts.values()) - min(counts.values()) <= 2


def test_negative_categories_are_in_play_and_absent(data):
    ids = {row["id"] for row in data["categories"]}
    index = annotations.Annotations.from_dict(data)
    for image in data["images"]:
        present = set(index.category_ids(image["id"]))
        negative = set(image["neg_category_ids"])
        assert negative <= ids - present - set(image["not_exhaustive_category_ids"])
        assert len(negative) == (len(ids) - len(present)) // 2


def test_a_category_not_exhaustively_annotated_is_frequent_and_lacks_one_of_its_objects(all_marked):
    index = annotations.Annotations.from_dict(all_marked)
    cat = scenes.vocabulary()["cat"].id
    for image in all_marked["images"]:
        number = int(image["file_name"].removesuffix(".png").split("_")[1])
        drawn = scenes.scene(SETTINGS, image["split"], number).objects if image["split"] != "train" else []
        cats = sum(thing.category == "cat" for thing in drawn)
        if image["not_exhaustive_category_ids"]:
            assert image["not_exhaustive_category_ids"] == [cat]
            assert image["split"] == "train" or len(index.boxes(image["id"], cat)) == cats - 1 >= 1
        else:
            assert image["split"] != "eval" or cats < 2
    marked = Counter(image["split"] for image in all_marked["images"] if image["not_exhaustive_category_ids"])
    assert set(marked) == {"train", "eval"}


def test_few_images_are_not_exhaustively_annotated(data):
    marked = sum(bool(image["not_exhaustive_category_ids"]) for image in data["images"])
    assert 0 < marked < 0.1 * len(data["images"])


def test_ids_of_images_do_not_move_when_another_split_shrinks(data, all_marked):
    ids = {image["file_name"]: image["id"] for image in data["images"]}
    assert all(ids[image["file_name"]] == image["id"] for image in all_marked["images"])
    for rows in (data["images"], data["annotations"]):
        assert len({row["id"] for row in rows}) == len(rows)


def test_the_attribution_travels_with_the_data(data):
    assert data["info"]["attribution"] == scenes.ATTRIBUTION
    for word in ("OpenMoji", "scikit-image", "CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/"):
        assert word in scenes.ATTRIBUTION
    assert {image["license"] for image in data["images"]} == {row["id"] for row in data["licenses"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": {"f": ["cat"], "c": [], "r": ["unicorn"]}}, "no glyph depicts 'unicorn'"),
        ({"categories": {"f": ["cat"], "c": ["cat"], "r": []}}, "'cat' is named twice"),
        ({"categories": {"f": [], "c": ["cat"], "r": []}}, r"embedded\.categories\.f: no category"),
        ({"max_objects": 12}, r"embedded\.max_objects: 12 do not fit"),
        ({"images": {"train": 150, "val": 1, "eval": 1}}, r"embedded\.images\.train: 150 images cannot hold"),
    ],
)
def test_impossible_settings_are_refused_by_name_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        scenes.write(tmp_path / "raw", with_(**changes))
    assert list(tmp_path.iterdir()) == []


def test_the_remedy_for_too_few_images_works(tmp_path):
    with pytest.raises(InputError) as refused:
        scenes.scene(with_(images={"train": 150, "val": 1, "eval": 1}), "train", 0)
    enough = int(str(refused.value).split("take ")[1].split()[0])
    scenes.write(tmp_path / "raw", with_(images={"train": enough + 10, "val": 1, "eval": 1}))


def test_the_shipped_benchmark_can_be_drawn():
    settings = load_params(ROOT / "params.yaml").benchmarks["lvis"].embedded
    assert scenes.scene(settings, "train", settings.images.train - 1).objects
    with pytest.raises(IndexError):
        scenes.scene(settings, "train", settings.images.train)


# The glyph table


def test_every_glyph_of_the_table_is_in_the_font_and_unlike_the_others():
    drawn = [glyphs.sprite(glyph).tobytes() for category in scenes.vocabulary().values() for glyph in category.glyphs]
    assert len(drawn) > 400
    assert len(set(drawn)) == len(drawn)


def test_no_glyph_stands_for_two_categories_and_none_is_a_flag_or_a_skin_tone():
    points = [ord(glyph) for category in scenes.vocabulary().values() for glyph in category.glyphs]
    assert len(set(points)) == len(points)
    assert not any(0x1F1E6 <= point <= 0x1F1FF or 0x1F3FB <= point <= 0x1F3FF for point in points)
    assert all(len(category.glyphs) <= 3 for category in scenes.vocabulary().values())


def test_names_that_only_sound_alike_are_not_in_the_table():
    # LVIS's drumstick beats drums, its nut holds bolts, its turkey is meat.
    assert not {"drumstick", "nut", "turkey_(food)", "octopus_(food)", "baseball_bat"} & set(scenes.vocabulary())
    assert scenes.vocabulary()["bow_(decorative_ribbons)"].glyphs == ("🎀",)
    assert scenes.vocabulary()["bow_(weapon)"].glyphs == ("🏹",)


def test_ids_names_and_synsets_are_those_of_lvis():
    if not LVIS.exists():
        pytest.skip(f"needs the LVIS v1 category list at {LVIS}")
    lvis = {row["name"]: row for row in json.loads(LVIS.read_text())}
    for category in scenes.vocabulary().values():
        assert (category.id, category.synset) == (lvis[category.name]["id"], lvis[category.name]["synset"])


@pytest.mark.slow
def test_a_hundred_images_a_cpu_second():
    settings = load_params(ROOT / "params.yaml").benchmarks["lvis"].embedded
    scenes.scene(settings, "train", 0)

    def seconds() -> float:
        start = time.process_time()
        for index in range(200):
            scenes.saving.png(scenes.scene(settings, "train", index).image)
        return time.process_time() - start

    assert 200 / min(seconds() for _ in range(3)) >= 100
