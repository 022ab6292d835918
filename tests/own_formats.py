"""The same labelled images as a folder in each format that `vrft init` reads, as the tools write it."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as parquet
import yaml
from PIL import Image, ImageDraw

Box = tuple[float, float, float, float]  # xywh pixels


@dataclass
class Photo:
    file: Path
    split: str  # train, test; or "" where there are none
    size: tuple[int, int]
    boxes: list[tuple[str, Box]] = field(default_factory=list)


def drawn(folder: Path, count: int = 24, splits: bool = True) -> list[Photo]:
    """Images that differ, each with one or two coloured shapes; every third one for `test`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        size = (160, 120) if number % 2 else (112, 140)
        image = Image.effect_noise(size, 90).convert("RGB").resize(size)
        pen, boxes = ImageDraw.Draw(image), []
        for place in range(1 + number % 2):
            name = ("red mug", "blue 'tin'", "grün")[(number + place) % 3]
            x, y, w, h = 10 + 3 * (number % 7) + 45 * place, 12 + 2 * (number % 5), 28 + number % 6, 40
            pen.rectangle((x, y, x + w, y + h), fill=("red", "blue", "green")[(number + place) % 3])
            boxes.append((name, (float(x), float(y), float(w), float(h))))
        file = folder / f"photo {number} ünd 'so'.png"
        image.save(file)
        found.append(Photo(file, ("test" if number % 3 == 0 else "train") if splits else "", size, boxes))
    return found


def place(photo: Photo, *folders: Path | str) -> None:
    target = Path(*folders)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(photo.file, target / photo.file.name)


def names(photos: list[Photo]) -> list[str]:
    """As a tool would number them: in the order in which they came up."""
    return list(dict.fromkeys(name for photo in photos for name, _ in photo.boxes))


def coco(root: Path, photos: list[Photo]) -> None:
    """As Roboflow exports it: a file in each split's folder, and a first category that nothing has."""
    ids = {name: number for number, name in enumerate(names(photos), 1)}
    for split in dict.fromkeys(photo.split for photo in photos):
        own = [photo for photo in photos if photo.split == split]
        for photo in own:
            place(photo, root, split)
        rows = [(number, name, box) for number, photo in enumerate(own) for name, box in photo.boxes]
        content = {
            "images": [
                {"id": number, "file_name": p.file.name, "width": p.size[0], "height": p.size[1]}
                for number, p in enumerate(own)
            ],
            "annotations": [
                {"id": n, "image_id": i, "category_id": ids[name], "bbox": list(box), "area": 1.0, "iscrowd": 0}
                for n, (i, name, box) in enumerate(rows)
            ],
            "categories": [{"id": 0, "name": "things", "supercategory": "none"}]
            + [{"id": i, "name": name, "supercategory": "things"} for name, i in ids.items()],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))


def yolo(root: Path, photos: list[Photo], polygons: bool = False) -> None:
    listed = names(photos)
    for photo in photos:
        place(photo, root, photo.split, "images")
        labels = root / photo.split / "labels"
        labels.mkdir(parents=True, exist_ok=True)
        lines, (wide, high) = [], photo.size
        for name, (x, y, w, h) in photo.boxes:
            corners = [(x, y + h / 2), (x + w / 2, y), (x + w, y + h / 2), (x + w / 2, y + h)]
            values = [(x + w / 2) / wide, (y + h / 2) / high, w / wide, h / high]
            if polygons:
                values = [value for a, b in corners for value in (a / wide, b / high)]
            lines.append(" ".join([str(listed.index(name)), *(f"{value:.8f}" for value in values)]))
        (labels / f"{photo.file.stem}.txt").write_text("".join(f"{line}\n" for line in lines))
    settings = {"train": "../train/images", "test": "../test/images", "nc": len(listed), "names": listed}
    (root / "data.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True))
    (root / "README.roboflow.txt").write_text("no labels\n")


def voc(root: Path, photos: list[Photo]) -> None:
    for photo in photos:
        place(photo, root, photo.split)
        objects = "".join(
            f"\n  <object>\n    <name>{escape(name)}</name>\n    <difficult>0</difficult>\n    <bndbox>"
            f"<xmin>{x:g}</xmin><ymin>{y:g}</ymin><xmax>{x + w:g}</xmax><ymax>{y + h:g}</ymax></bndbox>\n  </object>"
            for name, (x, y, w, h) in photo.boxes
        )
        (root / photo.split / f"{photo.file.stem}.xml").write_text(
            f"<annotation>\n  <filename>{escape(photo.file.name)}</filename>\n  <size><width>{photo.size[0]}</width>"
            f"<height>{photo.size[1]}</height><depth>3</depth></size>{objects}\n</annotation>\n",
            encoding="utf-8",
        )


def uploaded(photo: Photo) -> str:
    """The name under which Label Studio 1.23.2 stores `photo 0 ünd 'so'.png`."""
    return f"0a1b2c3d-{re.sub(r'[^-.a-zA-Z0-9_äöü]', '', photo.file.name.replace(' ', '_'))}"


def address(photo: Photo) -> str:
    return f"/data/upload/3/{quote(uploaded(photo))}"


def label_studio(root: Path, photos: list[Photo]) -> None:
    """One file, as Label Studio 1.23.2 exports JSON; splits, which it does not know, by the images' folders."""
    tasks = []
    for number, photo in enumerate(photos, 1):
        place(photo, root, photo.split, "images")
        wide, high = photo.size
        results = [
            {
                "id": f"r{place}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": wide,
                "original_height": high,
                "image_rotation": 0,
                "value": {
                    "x": 100 * x / wide, "y": 100 * y / high, "width": 100 * w / wide, "height": 100 * h / high,
                    "rotation": 0, "rectanglelabels": [name],
                },
            }
            for place, (name, (x, y, w, h)) in enumerate(photo.boxes)
        ]  # fmt: skip
        annotation = {"id": number, "result": results, "was_cancelled": False, "prediction": {}}
        task = {"id": number, "annotations": [annotation], "drafts": [], "predictions": [], "meta": {}}
        tasks.append({**task, "file_upload": uploaded(photo), "data": {"image": address(photo)}})
    (root / "project-1.json").write_text(json.dumps(tasks))


def table(root: Path, photos: list[Photo]) -> None:
    """A CSV of boxes as TensorFlow's object detection has it."""
    rows = []
    for photo in photos:
        place(photo, root, "images")
        rows += [
            [photo.file.name, *photo.size, name, x, y, x + w, y + h, photo.split] for name, (x, y, w, h) in photo.boxes
        ]
    head = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax", "split"]
    write_csv(root / "labels.csv", head, rows)


def class_folders(root: Path, photos: list[Photo]) -> None:
    for photo in photos:
        place(photo, root, photo.split, photo.boxes[0][0])


def expressions(root: Path, photos: list[Photo]) -> None:
    """A CSV; each second image also has an expression that nothing fits."""
    rows = []
    for number, photo in enumerate(photos):
        place(photo, root, "images")
        for name, (x, y, w, h) in photo.boxes:
            rows.append([photo.file.name, f"the {name}, the one on the left", x, y, x + w, y + h, photo.split])
        if number % 2:
            rows.append([photo.file.name, 'a "purple" elephant', "", "", "", "", photo.split])
    write_csv(root / "expressions.csv", ["image", "expression", "x1", "y1", "x2", "y2", "split"], rows)


def questions(root: Path, photos: list[Photo]) -> None:
    """Parquet as the paper's authors publish theirs: one category a row, boxes in thousandths."""
    for split in dict.fromkeys(photo.split for photo in photos):
        rows = []
        for photo in photos:
            wide, high = photo.size
            for name in sorted({name for name, _ in photo.boxes}) if photo.split == split else ():
                said = [
                    {"Position": [1000 * x / wide, 1000 * y / high, 1000 * (x + w) / wide, 1000 * (y + h) / high],
                     "Confidence": 1}
                    for one, (x, y, w, h) in photo.boxes if one == name
                ]  # fmt: skip
                image = {"bytes": photo.file.read_bytes(), "path": photo.file.name}
                problem = f"Detect all objects belonging to the category '{name}' in the image, and provide the boxes."
                rows.append({"image": image, "problem": problem, "solution": f"<answer>{said}</answer>"})
        (root / "data").mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), root / f"data/{split}-00000-of-00001.parquet")


def write_csv(path: Path, head: list[str], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


BOXES: dict[str, Callable[[Path, list[Photo]], None]] = {
    "coco": coco, "yolo": yolo, "voc": voc, "label-studio": label_studio, "table": table,
}  # fmt: skip
