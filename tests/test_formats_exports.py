"""Folders as other programs leave them: `datasets`, Label Studio, Excel, a telephone; and large ones."""

import json
import os
import re
import shutil
from pathlib import Path

import own_formats
import pytest
from own_formats import Photo, drawn
from PIL import Image
from test_formats import folder, raw

from vrft_core.errors import InputError
from vrft_core.sources import folders, formats
from vrft_core.sources.formats.labels import Tree


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Photo]:
    return drawn(tmp_path_factory.mktemp("drawn"), count=12)


def read(path: Path) -> folders.Source:
    return folders.read(path, formats.find(Tree(path)))


# Hugging Face


@pytest.mark.slow
def test_a_data_set_is_the_same_saved_to_disk_and_as_parquet_beside_its_images(tmp_path, photos, monkeypatch):
    """Written by `datasets` itself, with the Image feature; what it leaves beside the data is no data."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    rows = {
        split: {
            "image": [str(photo.file) for photo in photos if photo.split == split],
            "problem": ["What animal is it?" for photo in photos if photo.split == split],
            "solution": [f"<answer>{photo.boxes[0][0]}</answer>" for photo in photos if photo.split == split],
        }
        for split in ("train", "test")
    }
    made = datasets.DatasetDict({split: datasets.Dataset.from_dict(columns) for split, columns in rows.items()})
    made = made.cast_column("image", datasets.Image())
    made.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "parquet").mkdir()
    for split, data in made.items():
        data.to_parquet(str(tmp_path / f"parquet/{split}-00000-of-00001.parquet"))
    again = datasets.load_from_disk(str(tmp_path / "saved"))
    again["train"].filter(lambda row: row["solution"] != "", load_from_cache_file=False)
    assert list((tmp_path / "saved/train").glob("cache-*.arrow"))

    saved = raw(tmp_path, tmp_path / "saved")

    with pytest.raises(InputError, match=r"parquet: row 0: labels an image .*which is not in .*; give both the same"):
        read(tmp_path / "parquet")  # it wrote paths, and no images
    for photo in photos:
        own_formats.place(photo, tmp_path / "parquet/images")
    assert raw(tmp_path, tmp_path / "parquet") == saved
    data = json.loads(saved["annotations.json"])
    assert data["info"]["labels"] == "classes"
    assert {row["name"] for row in data["categories"]} == {photo.boxes[0][0] for photo in photos}
    assert len(data["images"]) == len(photos) == len(data["annotations"])
    assert {image["split"] for image in data["images"]} == {"train", "val", "eval"}


# Label Studio


def tasks(path: Path) -> list[dict]:
    return json.loads((path / "project-1.json").read_text())


def exported(path: Path, rows: list[dict]) -> None:
    (path / "project-1.json").write_text(json.dumps(rows))


def test_of_several_annotators_the_last_counts_and_who_gave_up_or_has_not_begun_counts_not(tmp_path, photos):
    path = folder(tmp_path, "label-studio", photos)
    before = read(path).data
    rows = tasks(path)
    first = json.loads(json.dumps(rows[0]["annotations"][0]))
    first["result"][0]["value"] |= {"x": 1.0, "rectanglelabels": ["something else"]}
    rows[0]["annotations"].insert(0, {**first, "completed_by": 7})
    rows[0]["annotations"].append({"was_cancelled": True, "result": [], "completed_by": 9})
    Image.new("RGB", (64, 64), "white").save(path / "train/images/another.png")
    rows.append({"id": 999, "data": {"image": "/data/upload/3/another.png"}, "annotations": []})
    exported(path, rows)

    assert read(path).data == before


def test_local_files_and_polygons_of_label_studio(tmp_path, photos):
    path = folder(tmp_path, "label-studio", photos)
    before = read(path).data
    rows = tasks(path)
    for row, photo in zip(rows, photos, strict=True):
        row["data"] = {"image": f"/data/local-files/?d={photo.split}/images/{photo.file.name.replace(' ', '%20')}"}
        for result in row["annotations"][0]["result"]:
            old = result["value"]
            left, top, right, bottom = old["x"], old["y"], old["x"] + old["width"], old["y"] + old["height"]
            corners = [[left, (top + bottom) / 2], [(left + right) / 2, top], [right, top], [right, bottom]]
            result |= {"type": "polygonlabels", "value": {"points": corners, "polygonlabels": old["rectanglelabels"]}}
    exported(path, rows)

    assert read(path).data == before


def test_choices_of_label_studio_are_classes_and_not_mixed_with_boxes(tmp_path, photos):
    path = folder(tmp_path, "label-studio", photos)
    rows = tasks(path)
    for row, photo in zip(rows, photos, strict=True):
        row["annotations"][0]["result"] = [{"type": "choices", "value": {"choices": [photo.boxes[0][0]]}}]
    mixed = [*tasks(path)[:1], *rows[1:]]
    exported(path, rows)

    source = read(path)
    classes = folders.read(folder(tmp_path, "class-folders", photos), "class-folders")
    assert source.data == classes.data

    exported(path, mixed)
    with pytest.raises(InputError, match="its labels are boxes and classes; keep one kind"):
        read(path)


@pytest.mark.parametrize("label", [[{"x": 1, "rectanglelabels": ["cat"]}], '[{"x": 1, "rectanglelabels": ["cat"]}]'])
def test_the_short_export_of_label_studio_is_refused_with_what_to_export(tmp_path, photos, label):
    own_formats.place(photos[0], tmp_path / "short")
    rows = [{"image": f"/data/upload/3/{photos[0].file.name}", "id": 1, "label": label}]
    (tmp_path / "short/project.json").write_text(json.dumps(rows))

    with pytest.raises(InputError, match=r"row 0: its label is a list.*Label Studio.*JSON, neither JSON-MIN nor CSV"):
        read(tmp_path / "short")


# Other people's files


def test_a_csv_from_excel_has_a_mark_before_it_semicolons_and_carriage_returns(tmp_path, photos):
    path = folder(tmp_path, "table", photos)
    before = read(path).data
    text = (path / "labels.csv").read_text(encoding="utf-8")
    assert ";" not in text
    (path / "labels.csv").write_bytes(b"\xef\xbb\xbf" + text.replace(",", ";").replace("\n", "\r\n").encode())

    assert read(path).data == before

    (path / "names.json").write_text('["a", "b"]')
    assert read(path).data == before
    (path / "labels.csv").write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError, match=r"labels\.csv: .*UTF-8"):
        read(path)


def test_json_that_breaks_off_is_named_and_not_called_unknown(tmp_path, photos):
    path = folder(tmp_path, "coco", photos)
    file = path / "train/_annotations.coco.json"
    file.write_text(file.read_text()[:-200])

    with pytest.raises(InputError, match=r"train/_annotations\.coco\.json: not valid JSON at line 1.*truncated"):
        read(path)
    (path / "test/_annotations.coco.json").unlink()
    file.rename(path / "instances.json")
    with pytest.raises(InputError, match=r"instances.json: not valid JSON at line 1.*truncated"):
        read(path)


def test_lists_of_images_in_data_yaml_say_what_is_evaluated(tmp_path, photos):
    path = folder(tmp_path, "yolo", [Photo(p.file, "batch", p.size, p.boxes) for p in photos])
    names = {split: [p.file.name for p in photos if p.split == split] for split in ("train", "test")}
    for split, listed in names.items():
        (path / f"{split}.txt").write_text("".join(f"./batch/images/{name}\n" for name in listed))
    settings = (
        (path / "data.yaml").read_text().replace("../train/images", "train.txt").replace("../test/images", "test.txt")
    )
    (path / "data.yaml").write_text(settings)

    data = read(path).data

    assert sorted(Path(i["file_name"]).name for i in data["images"] if i["split"] == "eval") == sorted(names["test"])


@pytest.mark.parametrize("target", ["outside", "nowhere"])
def test_a_folder_that_is_a_link_out_of_it_is_named(tmp_path, photos, target):
    path = folder(tmp_path, "class-folders", photos)
    (tmp_path / "outside").mkdir()
    os.symlink(tmp_path / target, path / "more")

    with pytest.raises(InputError, match=r"more: is a link that leaves the folder, or to nothing; put the files"):
        Tree(path)


def test_a_link_inside_the_folder_is_followed_once(tmp_path, photos):
    path = folder(tmp_path, "class-folders", photos)
    count = len(Tree(path).images)
    os.symlink(path / "train", path / "train/again")

    assert len(Tree(path).images) == count


def test_a_photo_lying_on_its_side_keeps_its_boxes_in_the_frame_its_labels_name(tmp_path):
    """EXIF has it turned: labels count in the upright image, or in the stored one where they state its size."""
    photos = drawn(tmp_path / "drawn", count=12, splits=False)
    turned = photos[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(turned.file) as image:
        stored = image.size
        image.save(turned.file, exif=exif)

    as_stored = next(
        i for i in read(folder(tmp_path, "voc", photos)).data["images"] if turned.file.name in i["file_name"]
    )
    assert (as_stored["width"], as_stored["height"]) == stored
    turned.size = (stored[1], stored[0])
    upright = read(folder(tmp_path, "yolo", photos)).data
    image = next(i for i in upright["images"] if turned.file.name in i["file_name"])
    assert (image["width"], image["height"]) == stored[::-1]
    boxes = [row["bbox"] for row in upright["annotations"] if row["image_id"] == image["id"]]
    assert boxes == [list(box) for _, box in turned.boxes]


def test_an_empty_folder_and_a_folder_without_labels_on_its_images_are_told_so(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no image; give the folder"):
        read(tmp_path / "empty")
    path = folder(tmp_path, "yolo", photos)
    for file in path.rglob("labels/*.txt"):
        file.write_text("")
    with pytest.raises(InputError, match="no image has a label; label some"):
        read(path)


def test_a_class_with_one_image_stays_in_training_and_a_class_folder_without_images_is_none(tmp_path):
    photos = drawn(tmp_path / "drawn", count=16, splits=False)
    photos[0].boxes = [("rare", photos[0].boxes[0][1])]
    path = folder(tmp_path, "class-folders", photos)
    (path / "nothing").mkdir()

    data = read(path).data

    assert "nothing" not in {row["name"] for row in data["categories"]}
    rare = next(row["id"] for row in data["categories"] if row["name"] == "rare")
    [image] = {row["image_id"] for row in data["annotations"] if row["category_id"] == rare}
    assert next(row["split"] for row in data["images"] if row["id"] == image) == "train"


def test_a_class_may_be_called_as_a_split_is(tmp_path):
    photos = drawn(tmp_path / "drawn", count=16, splits=False)
    for number, photo in enumerate(photos):
        photo.boxes = [("train" if number % 2 else "bus", photo.boxes[0][1])]

    found = read(folder(tmp_path, "class-folders", photos))

    assert {row["name"] for row in found.data["categories"]} == {"bus", "train"}
    assert any("set aside" in remark for remark in found.remarks)


def test_folders_of_splits_alone_are_no_classes(tmp_path, photos):
    for photo in photos:
        own_formats.place(photo, tmp_path / "bare" / photo.split)

    with pytest.raises(InputError, match="no labels that are known here"):
        read(tmp_path / "bare")


def test_the_same_image_under_two_classes_is_pointed_out(tmp_path, photos):
    path = folder(tmp_path, "class-folders", photos)
    assert not any("same image" in remark for remark in read(path).remarks)
    one, other = (sorted(path.glob(f"train/{name}/*"))[0] for name in sorted(p.name for p in path.glob("train/*"))[:2])
    shutil.copy(one, other.parent / "copy.png")

    remarks = read(path).remarks

    assert any(re.match(r"warning: .*copy\.png.* the same image with other labels", remark) for remark in remarks)


# Large files


def test_twenty_thousand_categories_and_licences_are_read(tmp_path, photos):
    path = folder(tmp_path, "coco", photos)
    for file in path.rglob("*.json"):
        data = json.loads(file.read_text())
        data["categories"] += [{"id": 1000 + i, "name": f"thing {i}"} for i in range(20_000)]
        data["licenses"] = [{"id": i, "name": f"licence {i}"} for i in range(20_000)]
        file.write_text(json.dumps(data))

    assert len(read(path).data["categories"]) == 3

    data["categories"].append({"id": 1, "name": "thing 7"})
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match="id: 1 is used twice"):
        read(path)


# Converters


def test_coco_annotations_without_ids_are_counted(tmp_path, photos):
    """As labelformat 0.1.17 writes them. Where only some lack the id, one was lost."""
    path = folder(tmp_path, "coco", photos)
    before = read(path).data
    for file in path.rglob("*.json"):
        data = json.loads(file.read_text())
        for row in data["annotations"]:
            del row["id"]
        file.write_text(json.dumps(data))

    assert read(path).data == before

    data["annotations"][0]["id"] = 1
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"annotations\[1\]\.id: is missing"):
        read(path)


def test_xml_of_cvat_is_told_what_to_export(tmp_path, photos):
    """`annotations.xml` of CVAT for images 1.1: one file for all images."""
    own_formats.place(photos[0], tmp_path / "cvat/images")
    box = '<box label="mug" xtl="1" ytl="2" xbr="30" ybr="40" occluded="0"/>'
    text = f'<annotations><version>1.1</version><image id="0" name="{photos[0].file.name}">{box}</image></annotations>'
    (tmp_path / "cvat/annotations.xml").write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=r"no <annotation> at the top; export Pascal VOC, COCO or YOLO"):
        read(tmp_path / "cvat")


def test_yolo_with_a_list_of_names_and_lists_of_images(tmp_path, photos):
    """CVAT's YOLO 1.1, as datumaro 1.13.12 writes it: labels beside the images."""
    before = read(folder(tmp_path, "yolo", photos)).data
    path, names = tmp_path / "cvat", own_formats.names(photos)
    for photo in photos:
        subset = path / f"obj_{photo.split}_data"
        own_formats.place(photo, subset)
        rows = [(n, x, y, w, h) for n, (x, y, w, h) in photo.boxes]
        wide, high = photo.size
        values = [
            f"{names.index(n)} {(x + w / 2) / wide:.8f} {(y + h / 2) / high:.8f} {w / wide:.8f} {h / high:.8f}"
            for n, x, y, w, h in rows
        ]
        (subset / f"{photo.file.stem}.txt").write_text("\n".join(values))
        with (path / f"{photo.split}.txt").open("a", encoding="utf-8") as listed:
            listed.write(f"data/obj_{photo.split}_data/{photo.file.name}\n")
    (path / "obj.names").write_text("\n".join(names) + "\n", encoding="utf-8")
    (path / "obj.data").write_text("classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")

    assert read(path).data == before


def test_two_files_that_name_other_classes_are_refused(tmp_path, photos):
    path = folder(tmp_path, "yolo", photos)
    before = read(path).data
    text = (path / "data.yaml").read_text(encoding="utf-8")
    (path / "train/data.yaml").write_text(text, encoding="utf-8")
    (path / "classes.txt").write_text("dog\nperson\n")  # what labelImg leaves behind
    assert read(path).data == before

    (path / "train/data.yaml").write_text("names: [a, b, c]\n")
    with pytest.raises(InputError, match=r"train/data\.yaml: names other classes than data\.yaml; leave one of them"):
        read(path)


def test_lists_of_voc_name_images_whose_names_have_spaces(tmp_path, photos):
    """A name a line in `ImageSets/Main`, as datumaro 1.13.12 writes it."""
    path = folder(tmp_path, "voc", [Photo(p.file, "JPEGImages", p.size, p.boxes) for p in photos])
    (path / "ImageSets/Main").mkdir(parents=True)
    for split in ("train", "test"):
        names = "".join(f"{photo.file.stem}\n" for photo in photos if photo.split == split)
        (path / f"ImageSets/Main/{split}.txt").write_text(names, encoding="utf-8")

    scored = [image["file_name"] for image in read(path).data["images"] if image["split"] == "eval"]

    assert sorted(scored) == sorted(f"eval/{photo.file.name}" for photo in photos if photo.split == "test")
