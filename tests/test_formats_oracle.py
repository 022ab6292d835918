"""Boxes of YOLO, Pascal VOC and COCO folders as other libraries read them."""

from collections.abc import Iterator
from pathlib import Path

import own_formats
import pytest
from own_formats import drawn
from PIL import Image

from vrft_core.sources import folders

Row = tuple[str, str, float, float, float, float]  # file, label, xywh pixels


def globox(format: str, folder: Path, names: list[str]) -> Iterator[Row]:
    library = pytest.importorskip("globox", reason="globox is not installed")
    if format == "coco":
        found = library.AnnotationSet.from_coco(folder / "train/_annotations.coco.json")
    elif format == "voc":
        found = library.AnnotationSet.from_pascal_voc(folder / "train")
    else:
        found = library.AnnotationSet.from_yolo_v5(folder / "train/labels", image_folder=folder / "train/images")
        found.map_labels({str(number): name for number, name in enumerate(names)})
    for one in found:
        for box in one.boxes:
            yield one.image_id, str(box.label), *box.ltwh


def supervision(format: str, folder: Path, names: list[str]) -> Iterator[Row]:
    library = pytest.importorskip("supervision", reason="supervision is not installed").DetectionDataset
    train = str(folder / "train")
    if format == "coco":
        found, first = library.from_coco(train, f"{train}/_annotations.coco.json"), 0
    elif format == "voc":
        found, first = library.from_pascal_voc(train, train), 1  # it takes edges for pixels counted from 1
    else:
        found, first = library.from_yolo(f"{train}/images", f"{train}/labels", str(folder / "data.yaml")), 0
    for path, _, detections in found:
        for (x1, y1, x2, y2), label in zip(detections.xyxy.tolist(), detections.class_id, strict=True):
            yield Path(path).name, found.classes[label], x1 + first, y1 + first, x2 - x1 - first, y2 - y1 - first


@pytest.mark.parametrize("reader", [globox, supervision])
@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
def test_boxes_are_those_that_others_read(tmp_path, format, reader):
    photos = drawn(tmp_path / "drawn", splits=True)
    for number, photo in enumerate(photos):  # globox looks for JPEG alone
        plain = tmp_path / f"drawn/{number}.jpg"
        Image.open(photo.file).save(plain)
        photo.file, photo.split = plain, "train"
    folder = tmp_path / format
    folder.mkdir()
    getattr(own_formats, format)(folder, photos)

    data = folders.read(folder, format).data

    names = {image["id"]: image["file_name"].split("/")[-1] for image in data["images"]}
    categories = {row["id"]: row["name"] for row in data["categories"]}
    ours = sorted((names[row["image_id"]], categories[row["category_id"]], *row["bbox"]) for row in data["annotations"])
    others = sorted(reader(format, folder, own_formats.names(photos)))
    assert [one[:2] for one in ours] == [one[:2] for one in others]
    assert [one[2:] for one in ours] == [pytest.approx(one[2:], abs=0.01) for one in others]
