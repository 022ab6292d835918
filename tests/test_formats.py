"""Folders of labelled images in the formats people have: found, read, divided, and one line for each thing wrong."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import own_formats
import pytest
from own_data import PROJECT, content
from own_formats import BOXES, Photo, drawn
from PIL import Image

from vrft_core.errors import InputError
from vrft_core.params import Folder
from vrft_core.sources import folders, formats
from vrft_core.sources.formats.labels import Tree

PHOTOS = PROJECT.parent / "shared/data/coco_photos"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Photo]:
    return drawn(tmp_path_factory.mktemp("drawn"))


def folder(root: Path, format: str, photos: list[Photo]) -> Path:
    path = root / f"my '{format}' földer"
    path.mkdir()
    getattr(own_formats, format.replace("-", "_"))(path, photos)
    return path


def raw(root: Path, path: Path) -> dict[str, bytes]:
    """What the stage `raw` makes of a folder."""
    format = formats.find(Tree(path))
    written = root / "raw" / path.name
    folders.write(written, Folder(path=str(path), format=format, sha256=folders.digest(path, format)), root)
    return content(written)


# The same, whatever the format


def test_the_same_labels_in_any_format_give_the_same_bytes(tmp_path, photos):
    made = {format: raw(tmp_path, folder(tmp_path, format, photos)) for format in BOXES}

    [data] = {one["annotations.json"] for one in made.values()}
    assert all(one == made["coco"] for one in made.values())
    boxes = sorted((row["bbox"], row["image_id"]) for row in json.loads(data)["annotations"])
    ordered = sorted(photos, key=lambda photo: photo.file.name)
    assert boxes == sorted((list(box), i) for i, photo in enumerate(ordered, 1) for _, box in photo.boxes)
    assert len([name for name in made["yolo"] if name.endswith(".png")]) == len(photos)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="no ../shared/data/coco_photos")
def test_photographs_of_coco_in_four_formats_give_the_same_bytes(tmp_path):
    photos = []
    for split, theirs in (("train", "train2017"), ("test", "val2017")):
        data = json.loads((PHOTOS / f"instances_{theirs[:-4]}.json").read_text())
        names = {row["id"]: row["name"] for row in data["categories"]}
        for image in data["images"]:
            size = image["width"], image["height"]
            photo = Photo(PHOTOS / theirs / image["file_name"].split("/")[-1], split, size)
            for row in data["annotations"]:
                if row["image_id"] == image["id"] and not row["iscrowd"]:  # the other formats have no crowds
                    x, y, w, h = row["bbox"]
                    left, top, right, bottom = (int(x), int(y), -int(-x - w), -int(-y - h))
                    box = (left, top, min(right, size[0]) - left, min(bottom, size[1]) - top)
                    if min(box[2:]) > 0:
                        photo.boxes.append((names[row["category_id"]], tuple(map(float, box))))
            photos.append(photo)

    made = [raw(tmp_path, folder(tmp_path, format, photos)) for format in ("coco", "yolo", "voc", "label-studio")]

    assert len(json.loads(made[0]["annotations.json"])["annotations"]) > 1000
    assert made[0] == made[1] == made[2] == made[3]


def test_a_polygon_of_yolo_is_the_box_around_it(tmp_path, photos):
    own_formats.yolo(tmp_path / "polygons", photos, polygons=True)

    assert raw(tmp_path, tmp_path / "polygons") == raw(tmp_path, folder(tmp_path, "yolo", photos))


def test_questions_of_the_paper_give_the_same_boxes_but_know_less_of_what_is_absent(tmp_path, photos):
    coco, asked = (folders.read(folder(tmp_path, f, photos), f).data for f in ("coco", "questions"))

    assert asked["annotations"] == coco["annotations"]
    assert {image["sha256"] for image in asked["images"]} == {image["sha256"] for image in coco["images"]}
    assert not any(image["neg_category_ids"] for image in asked["images"])


def test_lvis_keeps_its_synonyms_and_its_lists(tmp_path, photos):
    path = folder(tmp_path, "coco", photos)
    for file in path.rglob("*.json"):
        data = json.loads(file.read_text())
        for image in data["images"]:
            image |= {"neg_category_ids": [], "not_exhaustive_category_ids": [1]}
        data["categories"][1]["synonyms"] = ["red mug", "cup"]
        file.write_text(json.dumps(data))

    source = folders.read(path, formats.find(Tree(path))).data

    mug = next(c for c in source["categories"] if c["name"] == "red mug")
    assert mug["synonyms"] == ["red mug", "cup"]
    assert {tuple(i["not_exhaustive_category_ids"]) for i in source["images"]} == {(mug["id"],)}


# Kinds of labels


def test_a_folder_for_each_class_labels_whole_images(tmp_path, photos):
    path = folder(tmp_path, "class-folders", photos)

    source = folders.read(path, formats.find(Tree(path)))

    assert source.kind == "classes"
    images = {row["id"]: row for row in source.data["images"]}
    for row in source.data["annotations"]:
        assert row["bbox"] == [0, 0, images[row["image_id"]]["width"], images[row["image_id"]]["height"]]


def test_expressions_keep_their_words_and_an_empty_box_says_that_nothing_fits(tmp_path, photos):
    path = folder(tmp_path, "expressions", photos)

    source = folders.read(path, formats.find(Tree(path)))

    assert source.kind == "expressions"
    said = {row["expression"]: row for row in source.data["annotations"]}
    assert said['a "purple" elephant']["absent"] and said['a "purple" elephant']["bbox"] == [0, 0, 0, 0]
    assert not said["the red mug, the one on the left"]["absent"]


def test_json_lines_are_read_like_csv(tmp_path, photos):
    path = folder(tmp_path, "expressions", photos)
    before = raw(tmp_path, path)
    import csv

    with (path / "expressions.csv").open(newline="") as file:
        rows = [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]
    (path / "expressions.csv").unlink()
    (path / "expressions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert raw(tmp_path, path) == before


def test_what_is_difficult_in_voc_is_neither_taught_nor_counted(tmp_path, photos):
    path = folder(tmp_path, "voc", photos)
    file = next(path.glob("train/*.xml"))
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))

    source = folders.read(path, "voc").data

    image = next(i for i in source["images"] if file.stem in i["file_name"])
    assert image["not_exhaustive_category_ids"]
    assert not [row for row in source["annotations"] if row["image_id"] == image["id"]]


# Splits


def test_one_split_is_divided_always_alike_whatever_the_names_of_files(tmp_path):
    photos = drawn(tmp_path / "drawn", splits=False)
    first = folders.read(folder(tmp_path, "yolo", photos), "yolo")
    for number, photo in enumerate(photos):
        photo.file = photo.file.rename(photo.file.with_name(f"{number * 7 % 24}.png"))

    again = folders.read(folder(tmp_path, "voc", photos), "voc")

    splits = [{image["sha256"]: image["split"] for image in one.data["images"]} for one in (first, again)]
    assert splits[0] == splits[1]
    count = {split: list(splits[0].values()).count(split) for split in ("train", "val", "eval")}
    assert count["train"] > count["eval"] > 0 and count["val"] > 0
    assert any("set aside" in remark for remark in first.remarks)
    scored = {i["id"] for i in first.data["images"] if i["split"] == "eval"}
    assert {r["category_id"] for r in first.data["annotations"] if r["image_id"] in scored} == {1, 2, 3}


def test_images_that_look_almost_alike_stay_in_one_split(tmp_path):
    photos = drawn(tmp_path / "drawn", splits=False)
    for photo in photos[:12]:
        copy = photo.file.with_name(f"again {photo.file.stem}.jpg")
        Image.open(photo.file).save(copy, quality=90)
        photos.append(Photo(copy, "", photo.size, photo.boxes))

    source = folders.read(folder(tmp_path, "coco", photos), "coco").data

    splits = {image["file_name"].split("/")[-1]: image["split"] for image in source["images"]}
    copies = {name: split for name, split in splits.items() if name.startswith("again")}
    assert len(copies) == 12
    for name, split in copies.items():
        assert split == splits[name.removeprefix("again ").replace(".jpg", ".png")]


def test_a_copy_of_an_evaluation_image_is_left_out_of_training_and_an_alike_one_is_named(tmp_path, photos):
    path = folder(tmp_path, "class-folders", photos)
    scored = sorted(path.glob("test/*/*"))
    taught = sorted(path.glob("train/*"))[0]
    shutil.copy(scored[0], taught / "copy.png")
    Image.open(scored[1]).save(taught / "alike.jpg", quality=90)

    source = folders.read(path, "class-folders")

    assert not [image for image in source.data["images"] if "copy.png" in image["file_name"]]
    assert any("left out: 1 images" in remark for remark in source.remarks)
    assert any("alike.jpg" in remark and "too good" in remark for remark in source.remarks)


def test_a_changed_label_or_image_is_noticed(tmp_path, photos):
    path = folder(tmp_path, "yolo", photos)
    before = folders.digest(path, "yolo")
    (path / "README.roboflow.txt").write_text("other words")
    assert folders.digest(path, "yolo") == before

    (next(path.rglob("labels/*.txt"))).write_text("")

    assert folders.digest(path, "yolo") != before
    with pytest.raises(InputError, match="vrft update"):
        folders.write(tmp_path / "raw", Folder(path=str(path), format="yolo", sha256=before), tmp_path)
    assert not (tmp_path / "raw").exists()


# What is wrong


def spoil(path: Path, pattern: str, old: str, new: str) -> None:
    file = sorted(path.rglob(pattern))[0]
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation>'
ALIASES = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnop"))
FAULTS = [
    ("yolo", "labels/*.txt", "\n", " 0.5\n", "line 1: must be a class"),
    ("yolo", "labels/*.txt", "0", "7", "line 1: class 7 has no name"),
    ("yolo", "labels/*.txt", " 0.", " nan ", "line 1: must be a class"),
    ("yolo", "labels/*.txt", " 0.", " 0.9", "line 1: box"),
    ("yolo", "data.yaml", "names:", "kpt_shape: [17, 3]\nnames:", "key points are not read"),
    ("yolo", "data.yaml", "names:", "names: 3\nold:", "data.yaml: names"),
    ("voc", "*.xml", "<annotation>", BOMB, "line 1: is not XML that is read here: declares a document type"),
    ("voc", "*.xml", "</object>", "", "is not XML that is read here"),
    ("voc", "*.xml", "<xmin>", "<xmin>left", "line 4: an object must have a name and a bndbox"),
    ("voc", "*.xml", "<width>", "<width>9", "9112x140"),
    ("voc", "*.xml", "<name>", "<name>" + "long" * 30, "line 4: label"),
    ("coco", "*.json", '"category_id": 1', '"category_id": 99', "category_id"),
    ("coco", "*.json", '.png"', '.gif"', "which is not in"),
    ("label-studio", "*.json", '"rotation": 0', '"rotation": 12', "task 1: result 0: is rotated; draw it upright"),
    ("label-studio", "*.json", '"x": ', '"x": "left", "z": ', "task 1: result 0: must have"),
    ("label-studio", "*.json", '"original_width": ', '"original_width": 1e999, "w": ', "task 1: result 0: must have"),
    ("voc", "*.xml", "<annotation>", '<?xml version="1.0" encoding="foo"?><annotation>', "is not XML that is read"),
    ("yolo", "data.yaml", "names:", ALIASES + "names:", "data.yaml: means more than 200,000 values"),
    ("label-studio", "*.json", "rectanglelabels", "brushlabels", "'brushlabels' is not read here"),
    ("table", "*.csv", "photo 0", "photo -1", "line 2: labels an image"),
    ("table", "*.csv", "10.0", "inf", "line 2: its box must be four finite numbers"),
    ("table", "*.csv", "10.0", "", "line 2: its box must be four finite numbers"),
    ("table", "*.csv", "blue 'tin',", "blue 'tin',1,", "another number of fields"),
    ("expressions", "*.csv", "the red", "the red" * 200, "line 2: an expression must have 1 to 1000"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "pattern", "old", "new", "words"), FAULTS)
def test_a_fault_is_one_line_with_its_file_and_line(tmp_path, photos, format, pattern, old, new, words):
    path = folder(tmp_path, format, photos)
    spoil(path, pattern, old, new)

    with pytest.raises(InputError) as error:
        folders.read(path, formats.find(Tree(path)))

    line = str(error.value)
    assert words in line and path.name in line and "\n" not in line


def test_an_image_that_does_not_decode_is_named(tmp_path, photos):
    path = folder(tmp_path, "class-folders", photos)
    broken = sorted(path.rglob("*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:200])

    with pytest.raises(InputError, match="does not decode"):
        folders.read(path, "class-folders")


def test_labels_never_lead_out_of_the_folder(tmp_path, photos):
    path = folder(tmp_path, "table", photos)
    shutil.copy(photos[0].file, tmp_path / "outside.png")
    spoil(path, "*.csv", photos[0].file.name, "../../outside.png")

    with pytest.raises(InputError, match=r"labels an image '../../outside.png', which is not in"):
        folders.read(path, "table")


def test_a_link_that_leaves_the_folder_is_refused(tmp_path, photos):
    path = folder(tmp_path, "class-folders", photos)
    inside = sorted(path.rglob("*.png"))[0]
    shutil.move(inside, tmp_path / "outside.png")
    inside.symlink_to(tmp_path / "outside.png")

    with pytest.raises(InputError, match="is a link that leaves the folder"):
        Tree(path)


@pytest.mark.parametrize("box", ["5", "[[1, 2], 3, 4, 5]", "[1, 2, 3, " + "9" * 400 + "]"])
def test_a_box_that_is_no_box_is_one_line(tmp_path, photos, box):
    path = folder(tmp_path, "table", photos)
    for file in path.glob("*.csv"):
        file.unlink()
    row = f'{{"image": "{photos[0].file.name}", "label": "tin", "bbox": {box}}}'
    (path / "boxes.jsonl").write_text(row + "\n", encoding="utf-8")

    with pytest.raises(InputError, match="row 0: its box must be four finite numbers"):
        folders.read(path, "table")


def test_two_formats_in_one_folder_are_both_named(tmp_path, photos):
    path = folder(tmp_path, "yolo", photos)
    own_formats.voc(path, photos)

    with pytest.raises(InputError, match=r"YOLO and of Pascal VOC XML; leave one"):
        formats.find(Tree(path))


def test_a_folder_of_bare_images_is_told_what_is_known(tmp_path, photos):
    own_formats.place(photos[0], tmp_path / "bare")

    with pytest.raises(InputError, match="no labels that are known here; known: COCO or LVIS JSON, YOLO, Pascal VOC"):
        formats.find(Tree(tmp_path / "bare"))


def test_too_few_images_to_divide_are_refused(tmp_path):
    path = folder(tmp_path, "coco", drawn(tmp_path / "drawn", count=2, splits=False))

    with pytest.raises(InputError, match="too few images: none is left to"):
        folders.read(path, "coco")
