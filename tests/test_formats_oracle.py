"""Boxes of YOLO, Pascal VOC and COCO folders as another library reads them."""

from pathlib import Path

import own_formats
import pytest
from own_formats import drawn
from PIL import Image

from vrft_core.sources import folders

globox = pytest.importorskip("globox", reason="globox is not installed")


def theirs(format: str, folder: Path, names: list[str]):
    if format == "coco":
        return globox.AnnotationSet.from_coco(folder / "train/_annotations.coco.json")
    if format == "voc":
        return globox.AnnotationSet.from_pascal_voc(folder / "train")
    found = globox.AnnotationSet.from_yolo_v5(folder / "train/labels", image_folder=folder / "train/images")
    found.map_labels({str(number): name for number, name in enumerate(names)})
    return found


@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
def test_boxes_are_those_that_globox_reads(tmp_path, format):
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
    others = sorted(
        (one.image_id, str(box.label), *box.ltwh)
        for one in theirs(format, folder, own_formats.names(photos))
        for box in one.boxes
    )
    assert [one[:2] for one in ours] == [one[:2] for one in others]
    assert [one[2:] for one in ours] == [pytest.approx(one[2:], abs=0.01) for one in others]
