"""Folders that hold only some of the labelled images, and labels that are left out with a word why."""

import json
import re
from pathlib import Path

import own_data
import own_formats
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from own_formats import Photo, drawn

from vrft_core.cli import main
from vrft_core.errors import InputError
from vrft_core.io import read_json
from vrft_core.sources import files, folders, formats
from vrft_core.sources.formats.labels import Tree
from vrft_core.tasks import load_params

FORMATS = ("coco", "yolo", "voc", "table", "label_studio", "data_set")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Photo]:
    return drawn(tmp_path_factory.mktemp("drawn"))


def folder(root: Path, format: str, photos: list[Photo]) -> Path:
    (root / format).mkdir()
    {"data_set": data_set, **vars(own_formats)}[format](root / format, photos)
    return root / format


def data_set(root: Path, photos: list[Photo]) -> None:
    """Parquet with the paths of its images, as `datasets` writes it unless it is told to embed them."""
    rows = []
    for photo in photos:
        own_formats.place(photo, root, "images")
        boxes = [{"bbox": list(box), "category": name} for name, box in photo.boxes]
        rows.append({"image": {"bytes": None, "path": f"/home/me/{photo.file.name}"}, "objects": boxes})
    parquet.write_table(pa.Table.from_pylist(rows), root / "train-00000-of-00001.parquet")


def read(path: Path) -> folders.Source:
    return folders.read(path, formats.find(Tree(path)))


@pytest.mark.parametrize("format", FORMATS)
def test_labels_of_images_that_are_not_there_are_left_out_and_counted(tmp_path, photos, format):
    path = folder(tmp_path, format, photos)
    whole = read(path).data
    gone = photos[3:9]
    for photo in gone:
        next(path.rglob(photo.file.name)).unlink()

    found = read(path)

    assert len(found.data["images"]) == len(photos) - 6
    assert len(whole["annotations"]) - len(found.data["annotations"]) == sum(len(photo.boxes) for photo in gone)
    [said] = [line for line in found.remarks if "left out" in line]
    assert said.startswith("left out, labels of images that are not in the folder: 6, such as ")
    assert any(re.search(rf"photo[ _]{number}\b", said.replace("_ünd", " ")) for number in range(3, 9))


@pytest.mark.parametrize("format", FORMATS)
def test_where_an_image_has_no_labels_another_name_may_be_meant_so_it_is_refused(tmp_path, photos, format):
    path = folder(tmp_path, format, photos)
    image = next(path.rglob(photos[3].file.name))
    image.rename(image.with_name("renamed.png"))

    with pytest.raises(InputError) as error:
        read(path)

    assert re.search(r"labels an image .*photo[ _]3", str(error.value))
    assert "images without labels: 1, such as " in str(error.value) and "renamed.png" in str(error.value)
    assert "give both the same name, add the image, or remove its labels" in str(error.value)


def test_labels_of_two_files_are_left_out_alike_and_an_image_that_goes_or_comes_later_is_noticed(tmp_path, capsys):
    root = own_data.project(tmp_path / "project")
    first, second = (root / f"photos/train/{number}.jpg" for number in (3, 4))
    content = first.read_bytes()
    first.unlink()
    raw, update = ["stage", "raw", "--cell", "my-data-own"], ["update", "my-data"]

    def vrft(*words: str) -> int:
        return main(["--root", str(root), *words])

    assert own_data.init(root) == 0
    said = capsys.readouterr().out
    assert said.startswith("left out, labels of images that are not in the folder: 1, such as 'train/3.jpg'\n")
    assert vrft(*raw) == 0
    written = read_json(root / "data/raw/my-data-own/annotations.json")
    assert {row["id"] for row in written["images"]} == {1, 2, *range(4, 13), *range(101, 107)}
    assert 3 not in {row["image_id"] for row in written["annotations"]}
    for change in (second.unlink, lambda: first.write_bytes(content)):
        change()
        assert vrft(*raw) == 2
        assert "train.json: has changed, or images in" in (error := capsys.readouterr().err) and "vrft update" in error
        assert vrft(*update) == 0 and vrft(*raw) == 0
        files.refuse_changed(load_params(root / "params.yaml").benchmarks["my-data"], root)
        assert "such as 'train/" in capsys.readouterr().out


def test_where_no_image_of_a_split_is_there_two_files_are_refused(tmp_path, capsys):
    root = own_data.project(tmp_path / "project")
    for image in (root / "photos/eval").iterdir():
        image.unlink()

    assert own_data.init(root) == 2
    assert re.search(r"eval\.json: images.file_name \(id 101\): labels an image .*5 more", capsys.readouterr().err)


def test_where_no_labelled_image_is_there_the_folder_is_refused(tmp_path, photos):
    path = folder(tmp_path, "coco", photos)
    for number, image in enumerate(sorted(path.rglob("*.png"))):
        image.rename(image.with_name(f"{number}.png"))

    with pytest.raises(InputError, match=r"images without labels: 24, such as .* \(and 23 more\)"):
        read(path)


def test_a_name_that_two_images_have_is_refused(tmp_path, photos):
    path = folder(tmp_path, "table", photos)
    image = next(path.rglob(photos[0].file.name))
    for place in ("a", "b"):
        (path / place).mkdir()
        (path / place / image.name).write_bytes(image.read_bytes())
    image.unlink()

    with pytest.raises(InputError, match=r"several images in .* could be .*; give them different names, or keep one"):
        read(path)


def test_boxes_around_crowds_and_difficult_objects_are_counted_where_they_are_left_out(tmp_path, photos):
    coco, voc = folder(tmp_path, "coco", photos), folder(tmp_path, "voc", photos)
    for file in coco.rglob("*.json"):
        content = json.loads(file.read_text())
        content["annotations"][0]["iscrowd"] = content["annotations"][1]["iscrowd"] = 1
        file.write_text(json.dumps(content))
    for file in sorted(voc.rglob("*.xml"))[:3]:
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))

    files = sorted(path.relative_to(coco).as_posix() for path in coco.rglob("*.json"))
    said = read(coco).remarks
    assert [line for line in said if "iscrowd" in line] == [
        f"left out of {file}, boxes of several objects (iscrowd), neither taught nor counted: 2" for file in files
    ]
    assert "left out, objects marked as difficult, neither taught nor counted: 3" in read(voc).remarks
