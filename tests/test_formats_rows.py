"""Tables and Hugging Face data sets whose rows hold classes, objects or captions, as `datasets` 5.2.0 has them."""

import json

import own_formats
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from own_formats import Photo, drawn
from test_formats import folder
from test_formats_exports import read

from vrft_core.errors import InputError


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Photo]:
    return drawn(tmp_path_factory.mktemp("drawn"), count=12)


def class_label(photos: list[Photo]) -> dict:
    return {"names": own_formats.names(photos), "_type": "ClassLabel"}


def saved(root, photos: list[Photo], column: str, features: dict, values: list) -> None:
    """`data/train-….parquet` and `data/test-….parquet`: images with their bytes, features in the schema."""
    (root / "data").mkdir(parents=True)
    said = {"info": {"features": {"image": {"_type": "Image"}, column: features}}}
    for split in ("train", "test"):
        rows = [
            {"image": {"bytes": photo.file.read_bytes(), "path": photo.file.name}, column: value}
            for photo, value in zip(photos, values, strict=True)
            if photo.split == split
        ]
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(said)})
        parquet.write_table(table, root / f"data/{split}-00000-of-00001.parquet")


def objects(photos: list[Photo], by: str) -> list:
    """As columns, or a row each; with the names of classes, or their numbers."""
    names = own_formats.names(photos)
    rows = [
        [{"bbox": list(box), "category": name if by == "name" else names.index(name)} for name, box in photo.boxes]
        for photo in photos
    ]
    if by == "row":
        return rows
    return [{key: [one[key] for one in row] for key in ("bbox", "category")} for row in rows]


def test_numbers_of_a_class_label_are_the_classes_it_names(tmp_path, photos):
    names = own_formats.names(photos)
    saved(tmp_path / "set", photos, "label", class_label(photos), [names.index(p.boxes[0][0]) for p in photos])

    assert read(tmp_path / "set").data == read(folder(tmp_path, "class-folders", photos)).data


@pytest.mark.parametrize("by", ["column", "row"])
def test_objects_of_a_data_set_are_boxes(tmp_path, photos, by):
    features = {"feature": {"bbox": {"_type": "List"}, "category": class_label(photos)}, "_type": "List"}
    saved(tmp_path / "set", photos, "objects", features, objects(photos, by))

    assert read(tmp_path / "set").data == read(folder(tmp_path, "coco", photos)).data


def test_objects_in_the_metadata_of_an_image_folder_are_boxes(tmp_path, photos):
    for split in ("train", "test"):
        own = [photo for photo in photos if photo.split == split]
        for photo in own:
            own_formats.place(photo, tmp_path / "set" / split)
        rows = [{"file_name": p.file.name, "objects": o} for p, o in zip(own, objects(own, "name"), strict=True)]
        (tmp_path / f"set/{split}/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert read(tmp_path / "set").data == read(folder(tmp_path, "coco", photos)).data


@pytest.mark.parametrize(("number", "features"), [(-1, True), (3, True), (0, False)])
def test_a_number_that_no_class_has_is_refused(tmp_path, photos, number, features):
    """−1 is how `datasets` writes that an image has no label."""
    values = [number, *(0 for _ in photos[1:])]
    saved(tmp_path / "set", photos, "label", class_label(photos) if features else {}, values)

    with pytest.raises(InputError, match=rf"parquet: row 0: its label {number} is a number; write the name"):
        read(tmp_path / "set")


def test_columns_of_objects_that_differ_in_length_are_refused(tmp_path, photos):
    own_formats.place(photos[0], tmp_path / "set")
    row = {"file_name": photos[0].file.name, "objects": {"bbox": [[1, 2, 3, 4]], "category": ["mug", "tin"]}}
    (tmp_path / "set/metadata.jsonl").write_text(json.dumps(row))

    with pytest.raises(
        InputError, match=r"metadata\.jsonl: row 0: its objects must have boxes of four finite.*one length"
    ):
        read(tmp_path / "set")


def test_captions_are_no_expressions_that_nothing_fits(tmp_path, photos):
    """`metadata.csv` of an image folder with captions: file_name and text."""
    own_formats.place(photos[0], tmp_path / "set")
    own_formats.write_csv(tmp_path / "set/metadata.csv", ["file_name", "text"], [[photos[0].file.name, "a mug"]])

    with pytest.raises(InputError, match=r"line 2: has an expression, and no columns for a box; add x1.*call the"):
        read(tmp_path / "set")


def test_a_data_set_without_labels_is_told_what_is_wanted(tmp_path, photos):
    saved(tmp_path / "set", photos, "mask", {}, [1 for _ in photos])

    with pytest.raises(InputError, match="has no images with labels: its columns are image, mask; wanted: image, and"):
        read(tmp_path / "set")


def test_problems_and_solutions_in_json_lines_name_their_images(tmp_path, photos):
    wide, high = photos[0].size
    for photo in photos:
        own_formats.place(photo, tmp_path / "set/images")
    rows = []
    for photo in photos:
        (wide, high), (name, (x, y, w, h)) = photo.size, photo.boxes[0]
        corners = [round(1000 * v / s, 3) for v, s in ((x, wide), (y, high), (x + w, wide), (y + h, high))]
        solution = f"<answer>[{', '.join(map(str, corners))}]</answer>"
        rows.append({"image": f"images/{photo.file.name}", "problem": f"the {name}", "solution": solution})
    (tmp_path / "set/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    source = read(tmp_path / "set")

    assert source.kind == "expressions"
    assert {row["expression"] for row in source.data["annotations"]} == {f"the {p.boxes[0][0]}" for p in photos}
    boxes = sorted(row["bbox"] for row in source.data["annotations"])
    assert boxes == [pytest.approx(box) for box in sorted(list(p.boxes[0][1]) for p in photos)]


def test_boxes_in_parts_of_the_image_are_not_taken_for_pixels(tmp_path, photos):
    for photo in photos:
        own_formats.place(photo, tmp_path / "set")
    rows = [[photo.file.name, "mug", 0.25, 0.25, 0.5, 1.0] for photo in photos]
    own_formats.write_csv(tmp_path / "set/boxes.csv", ["image", "label", "xmin", "ymin", "xmax", "ymax"], rows)

    with pytest.raises(InputError, match=r"boxes\.csv: line 2: this box, like all others, lies within one pixel; give"):
        read(tmp_path / "set")


def test_an_image_without_objects_shows_none(tmp_path, photos):
    for photo in photos:
        own_formats.place(photo, tmp_path / "set")
    rows = [
        {"file_name": p.file.name, "objects": one if number else None}
        for number, (p, one) in enumerate(zip(photos, objects(photos, "name"), strict=True))
    ]
    (tmp_path / "set/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    source = read(tmp_path / "set")

    assert len(source.data["images"]) == len(photos)
    assert "1 images have no label: they count as showing none of the categories" in source.remarks


def test_an_image_that_a_row_holds_is_not_taken_for_one_of_the_folder_with_its_name(tmp_path, photos):
    first, *others = photos
    for photo in others:
        own_formats.place(photo, tmp_path / "set")
    rows = [{"image": {"bytes": None, "path": photo.file.name}, "label": photo.boxes[0][0]} for photo in others]
    rows.append({"image": {"bytes": first.file.read_bytes(), "path": others[0].file.name}, "label": "another"})
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "set/rows.parquet")

    data = read(tmp_path / "set").data

    assert len({image["sha256"] for image in data["images"]}) == len(photos) == len(data["annotations"])
