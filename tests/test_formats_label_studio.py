"""Exports of Label Studio 1.23.2 in the form in which its server writes them."""

import json
import shutil
from pathlib import Path

import own_formats
import pytest
from own_formats import Photo, drawn
from test_formats import folder
from test_formats_exports import exported, read, tasks

from vrft_core.errors import InputError


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Photo]:
    return drawn(tmp_path_factory.mktemp("drawn"), count=12)


def results(row: dict) -> list[dict]:
    return row["annotations"][0]["result"]


def test_images_are_found_under_the_names_they_were_uploaded_with_and_stored_under(tmp_path, photos):
    """`photo 0 ünd 'so'.png` is stored as `0a1b2c3d-photo_0_ünd_so.png`, and exported with ü as %C3%BC."""
    path = folder(tmp_path, "label-studio", photos)
    assert tasks(path)[0]["data"]["image"] == "/data/upload/3/0a1b2c3d-photo_0_%C3%BCnd_so.png"
    before = read(path).data
    for photo in photos:
        place = path / photo.split / "images"
        (place / photo.file.name).rename(place / own_formats.uploaded(photo))

    after = read(path).data

    assert {i["sha256"]: i["split"] for i in after["images"]} == {i["sha256"]: i["split"] for i in before["images"]}
    assert sorted(row["bbox"] for row in after["annotations"]) == sorted(row["bbox"] for row in before["annotations"])


def test_an_image_that_two_could_be_and_a_task_of_two_images_are_named(tmp_path, photos):
    path = folder(tmp_path, "label-studio", photos)
    rows = tasks(path)
    image = next(path.rglob(photos[0].file.name))
    copy = shutil.copy(image, image.with_name(image.name.replace(" ", "_")))  # stored under the same name

    with pytest.raises(InputError, match=r"task 1: several images in .* could be '.*photo_0_ünd_so\.png'; give them"):
        read(path)

    Path(copy).unlink()
    rows[0]["data"]["other"] = rows[1]["data"]["image"]
    exported(path, rows)
    with pytest.raises(InputError, match=r"task 1: no image, or several, for '.*photo_0_.*photo_1_.*; show one image"):
        read(path)


def test_notes_relations_and_choices_beside_boxes_are_no_labels(tmp_path, photos):
    """Also where an image has nothing but the choice; a choice of its own is a class, as before."""
    path = folder(tmp_path, "label-studio", photos)
    rows = tasks(path)
    quality = {"id": "q", "type": "choices", "from_name": "quality", "value": {"choices": ["good"]}}
    results(rows[0]).clear()
    exported(path, rows)
    before = read(path).data
    for row in rows:
        boxes = list(results(row))
        for box in boxes:  # a choice for each region repeats where it is
            value = {**{k: v for k, v in box["value"].items() if k != "rectanglelabels"}, "choices": ["no"]}
            results(row).append({**box, "type": "choices", "from_name": "occluded", "value": value})
        if len(boxes) > 1:
            results(row).append({"type": "relation", "from_id": "r0", "to_id": "r1", "direction": "right"})
        results(row).append({"id": "t", "type": "textarea", "from_name": "note", "value": {"text": ["dark"]}})
        results(row).append(quality)
    exported(path, rows)

    assert read(path).data == before


def test_labels_apart_from_their_rectangles_and_ellipses_are_boxes(tmp_path, photos):
    """`<Labels>` beside `<Rectangle>` gives two results with one id; an ellipse has a centre and two radii."""
    path = folder(tmp_path, "label-studio", photos)
    before = read(path).data
    rows = tasks(path)
    for number, row in enumerate(rows):
        boxes, changed = results(row), []
        for box in boxes:
            value = dict(box["value"])
            (name,) = value.pop("rectanglelabels")
            if number % 2:
                changed.append({**box, "type": "rectangle", "from_name": "rect", "value": value})
                changed.append({**box, "type": "labels", "value": {**value, "labels": [name]}})
            else:
                across, down = value["width"] / 2, value["height"] / 2
                middle = {"x": value["x"] + across, "y": value["y"] + down, "radiusX": across, "radiusY": down}
                changed.append({**box, "type": "ellipselabels", "value": {**middle, "ellipselabels": [name]}})
        boxes[:] = changed
    exported(path, rows)

    assert read(path).data == before

    results(rows[1]).pop()
    exported(path, rows)
    with pytest.raises(InputError, match=r"task 2: result 2: of type 'rectangle' is not read here; give it a label"):
        read(path)


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (
            "brushlabels",
            {"value": {"format": "rle", "rle": [0, 1], "brushlabels": ["mug"]}},
            "'brushlabels' is not read",
        ),
        ("keypointlabels", {"value": {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["mug"]}}, "is not read here"),
        ("rectanglelabels", {"image_rotation": 90}, "was drawn on a rotated image"),
        ("rectanglelabels", {"value": {"x": 1, "y": 2, "width": 3, "height": 4}}, "must have a type, one label"),
    ],
)
def test_what_is_no_box_is_named_with_its_task(tmp_path, photos, kind, change, words):
    path = folder(tmp_path, "label-studio", photos)
    rows = tasks(path)
    results(rows[2])[0] |= {"type": kind, **change}
    exported(path, rows)

    with pytest.raises(InputError, match=rf"project-1\.json: task 3: result 0: .*{words}"):
        read(path)


def listed(path: Path, photos: list[Photo]) -> None:
    """Its COCO export without images: `result.json`, whose file names are addresses on its server."""
    own_formats.coco(path, [Photo(p.file, "train", p.size, p.boxes) for p in photos])
    file = path / "train/_annotations.coco.json"
    data = json.loads(file.read_text())
    for image, photo in zip(data["images"], photos, strict=True):
        image["file_name"] = own_formats.address(photo)
    file.unlink()
    (path / "result.json").write_text(json.dumps(data))


def test_its_coco_export_names_addresses_on_its_server(tmp_path, photos):
    (tmp_path / "set").mkdir()
    listed(tmp_path / "set", photos)

    data = read(tmp_path / "set").data

    assert len(data["images"]) == len(photos)
    assert sorted(row["bbox"] for row in data["annotations"]) == sorted(list(b) for p in photos for _, b in p.boxes)


def test_its_coco_export_lists_an_image_twice_where_two_have_labelled_it(tmp_path, photos):
    (tmp_path / "set").mkdir()
    listed(tmp_path / "set", photos)
    data = json.loads((tmp_path / "set/result.json").read_text())
    data["images"].append({**data["images"][0], "id": 99})
    (tmp_path / "set/result.json").write_text(json.dumps(data))

    with pytest.raises(
        InputError, match=r"result\.json: image 99: .* is also listed in .*; list each image once; Label"
    ):
        read(tmp_path / "set")


def test_ids_and_names_that_are_no_text_harm_nothing(tmp_path, photos):
    path = folder(tmp_path, "label-studio", photos)
    before = read(path).data
    rows = tasks(path)
    for row in rows:
        results(row)[0] |= {"id": [1], "from_name": {"a": []}}
        results(row).append({"type": "relation", "id": {}, "from_name": [[]]})
    exported(path, rows)

    assert read(path).data == before
