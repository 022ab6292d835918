"""Tiny data sets in the exact layout in which the official ones are published: names of files, members and fields.

Each maker returns the published files by name. `publish` puts them on a server and gives the source their checksums,
which are the only thing that differs from the official ones.
"""

import hashlib
import io
import json
import random
import tarfile
import zipfile
from dataclasses import replace
from types import ModuleType

import numpy as np
import pyarrow
import pyarrow.parquet
from data_server import Server
from PIL import Image
from scipy.io import savemat

SIZE = (64, 48)


def photo(seed: int, size: tuple[int, int] = SIZE, kind: str = "JPEG") -> bytes:
    """Coarse noise, so that no two are equal and compression changes little."""
    small = Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(8 * 6 * 3))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def tgz(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for folder in sorted({name.rpartition("/")[0] for name in members} - {""}):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            file.addfile(entry)
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for folder in sorted({name.rpartition("/")[0] for name in members} - {""}):
            file.writestr(f"{folder}/", b"")
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def mat(**variables) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def parquet(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def publish(monkeypatch, server: Server, source: ModuleType, files: dict[str, bytes]) -> None:
    """Serve the files at the source's mirror, and expect their checksums wherever official ones are known."""
    name = next(iter(source.FILES.values())).source
    monkeypatch.setenv(f"VRFT_MIRROR_{name.upper()}", f"{server.address}/{name}")
    server.files |= {f"/{name}/{file}": data for file, data in files.items()}
    known = {}
    for key, file in source.FILES.items():
        data = files.get(file.name)
        if data is not None:
            file = replace(
                file,
                size=len(data) if file.size is not None else None,
                sha256=hashlib.sha256(data).hexdigest() if file.sha256 else None,
                md5=hashlib.md5(data).hexdigest() if file.md5 else None,
            )
        known[key] = replace(file, urls=())
    monkeypatch.setattr(source, "FILES", known)


# COCO and LVIS: image i shows category 1, each second also 2; ids as official, with holes.

COCO_CATEGORIES = [(1, "person"), (2, "bicycle"), (17, "cat")]
TRAIN, VAL = range(9, 21), range(139, 145)


def _coco(ids: range, folder: str) -> bytes:
    images, rows = [], []
    for i in ids:
        images.append(
            {
                "license": 4,
                "file_name": f"{i:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/{folder}/{i:012d}.jpg",
                "height": SIZE[1],
                "width": SIZE[0],
                "date_captured": "2013-11-14 17:02:52",
                "flickr_url": "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg",
                "id": i,
            }
        )
        for category in [1] + [17] * (i % 2 == 0):
            rows.append(
                {
                    "segmentation": [[4.0, 5.0, 24.5, 5.0, 24.5, 30.25, 4.0, 30.25]],
                    "area": 400.5,
                    "iscrowd": 0,
                    "image_id": i,
                    "bbox": [4.0, 5.0, 20.5, 25.25],
                    "category_id": category,
                    "id": 1000 * i + category,
                }
            )
    rows.append(
        {
            "segmentation": {"counts": [10, 20, SIZE[0] * SIZE[1] - 30], "size": [SIZE[1], SIZE[0]]},
            "area": 20,
            "iscrowd": 1,
            "image_id": ids[1],
            "bbox": [0, 0, 10, 10],
            "category_id": 2,
            "id": 900100000000 + ids[1],
        }
    )
    rows.append(  # as there are some: no area at all
        {
            "segmentation": [[1, 1, 1, 1, 1, 1]],
            "area": 0,
            "iscrowd": 0,
            "image_id": ids[0],
            "bbox": [1, 1, 0, 9],
            "category_id": 17,
            "id": 7,
        }
    )
    return json.dumps(
        {
            "info": {"description": "COCO 2017 Dataset", "year": 2017},
            "licenses": [
                {"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}
            ],
            "images": images,
            "annotations": rows,
            "categories": [{"supercategory": "thing", "id": i, "name": name} for i, name in COCO_CATEGORIES],
        }
    ).encode()


def coco_photos() -> dict[str, bytes]:
    return {f"{folder}/{i:012d}.jpg": photo(i) for folder, ids in (("train2017", TRAIN), ("val2017", VAL)) for i in ids}


def coco() -> dict[str, bytes]:
    photos = coco_photos()
    return {
        "annotations_trainval2017.zip": zipped(
            {
                "annotations/instances_train2017.json": _coco(TRAIN, "train2017"),
                "annotations/instances_val2017.json": _coco(VAL, "val2017"),
                "annotations/captions_val2017.json": b"{}",
            }
        ),
        **{
            f"{folder}.zip": zipped({name: data for name, data in photos.items() if name.startswith(folder)})
            for folder in ("train2017", "val2017")
        },
        **photos,
    }


def _lvis(ids: range, folder: dict[int, str]) -> bytes:
    return json.dumps(
        {
            "info": {"description": "LVIS v1.0", "version": "1.0"},
            "annotations": [
                {
                    "area": 400.5,
                    "id": 10 * i + category,
                    "segmentation": [[4.0, 5.0, 24.5, 5.0, 24.5, 30.25], [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]],
                    "image_id": i,
                    "bbox": [4.0, 5.0, 20.5, 25.25],
                    "category_id": category,
                }
                for i in ids
                for category in [1] + [3] * (i % 2 == 0)
            ]
            + [
                {
                    "area": 0.0,
                    "id": 5,
                    "segmentation": [],
                    "image_id": ids[0],
                    "bbox": [1.0, 1.0, 0.0, 5.0],
                    "category_id": 1,
                }
            ],
            "images": [
                {
                    "date_captured": "2013-11-14 17:02:52",
                    "neg_category_ids": [2] if i % 3 == 0 else [],
                    "license": 4,
                    "height": SIZE[1],
                    "width": SIZE[0],
                    "flickr_url": "http://farm8.staticflickr.com/7268/8155926622_7f6b77f3fb_z.jpg",
                    "coco_url": f"http://images.cocodataset.org/{folder[i]}/{i:012d}.jpg",
                    "not_exhaustive_category_ids": [1] if i == ids[2] else [],
                    "id": i,
                }
                for i in ids
            ],
            "licenses": [],
            "categories": [
                {
                    "image_count": count,
                    "synonyms": [name, "thing"],
                    "def": f'a "{name}", with [brackets] and {{braces}}; "segmentation": [1] is only a text',
                    "id": i,
                    "synset": f"{name}.n.01",
                    "name": name,
                    "frequency": letter,
                    "instance_count": 2 * count,
                }
                for i, (name, letter, count) in enumerate(
                    [("horse_buggy", "r", 9), ("die", "r", 8), ("alligator", "c", 26)], 1
                )
            ],
        }
    ).encode()


def lvis() -> dict[str, bytes]:
    """Its val lies partly in train2017, as officially."""
    where = dict.fromkeys(TRAIN, "train2017") | dict.fromkeys(VAL, "val2017")
    return {
        "lvis_v1_train.json.zip": zipped({"lvis_v1_train.json": _lvis(TRAIN[:-3], where)}),
        "lvis_v1_val.json.zip": zipped({"lvis_v1_val.json": _lvis(range(VAL[0], VAL[-1] + 1), where)}),
    }


# Fine-grained classification


def flowers(count: int = 30, classes: int = 3) -> dict[str, bytes]:
    """Labels 1, 2, 3, 1, ...; the official test is the largest part."""
    labels = [1 + i % classes for i in range(count)]
    ids = list(range(1, count + 1))
    rows = [[f"image_{i:05d}.jpg", labels[i - 1] - 1, f"flower_{labels[i - 1]}"] for i in ids]
    return {
        "102flowers.tgz": tgz({f"jpg/image_{i:05d}.jpg": photo(i) for i in ids}),
        "imagelabels.mat": mat(labels=np.array([labels], np.uint8)),
        "setid.mat": mat(
            trnid=np.array([ids[:6]], np.uint16),
            valid=np.array([ids[6:12]], np.uint16),
            tstid=np.array([ids[12:]], np.uint16),
        ),
        "split_zhou_OxfordFlowers.json": json.dumps({"train": rows[12:], "val": rows[6:12], "test": rows[:6]}).encode(),
    }


def pets() -> dict[str, bytes]:
    """Breeds' names in upper and lower case as officially (cats, dogs); a GIF that is called .jpg; a comment line has
    list.txt only."""
    breeds = ["Abyssinian", "american_bulldog", "Maine_Coon"]
    names = [(f"{breed}_{number}", label) for label, breed in enumerate(breeds, 1) for number in (1, 10, 100, 2, 34)]
    lines = [f"{name} {label} {1 if name[0].isupper() else 2} {label}\n" for name, label in names]
    train, test = [lines[i] for i in range(15) if i % 5 < 3], [lines[i] for i in range(15) if i % 5 >= 3]
    split = [[f"{name}.jpg", label - 1, breeds[label - 1].lower()] for name, label in names]
    images = {f"images/{name}.jpg": photo(i, kind="GIF" if i == 4 else "JPEG") for i, (name, _) in enumerate(names)}
    return {
        "images.tar.gz": tgz(images | {"images/Abyssinian_100.mat": b"not an image"}),
        "annotations.tar.gz": tgz(
            {
                "annotations/README": b"",
                "annotations/._trimaps": b"",
                "annotations/list.txt": ("#Image CLASS-ID SPECIES BREED ID\n" + "".join(lines)).encode(),
                "annotations/trainval.txt": "".join(train).encode(),
                "annotations/test.txt": "".join(test).encode(),
                "annotations/xmls/Abyssinian_1.xml": b"<annotation></annotation>",
            }
        ),
        "split_zhou_OxfordPets.json": json.dumps(
            {
                "train": [split[i] for i in range(15) if i % 5 < 2],
                "val": [split[i] for i in range(15) if i % 5 == 2],
                "test": [split[i] for i in range(15) if i % 5 > 2],
            }
        ).encode(),
    }


AIRCRAFT = ["707-320", "A330-200", "DC-3 Mark II"]  # a name may hold spaces


def aircraft() -> dict[str, bytes]:
    folder = "fgvc-aircraft-2013b/data"
    ids = [f"{1025794 + i:07d}" for i in range(18)]
    lists = {"train": ids[:6], "val": ids[6:12], "test": ids[12:]}
    return {
        "fgvc-aircraft-2013b.tar.gz": tgz(
            {
                "fgvc-aircraft-2013b/README.md": b"",
                f"{folder}/variants.txt": ("\n".join(AIRCRAFT) + "\n").encode(),
                f"{folder}/families.txt": b"Boeing 707\n",
                **{
                    f"{folder}/images_variant_{split}.txt": "".join(
                        f"{image} {AIRCRAFT[int(image) % 3]}\n" for image in images
                    ).encode()
                    for split, images in lists.items()
                },
                **{f"{folder}/images/{image}.jpg": photo(int(image), (64, 68)) for image in ids},
            }
        )
    }


CARS = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi R8 Coupe 2012"]


def cars() -> dict[str, bytes]:
    def annotations(ids: range, labels: bool) -> np.ndarray:
        fields = [("bbox_x1", "O"), ("bbox_y1", "O"), ("bbox_x2", "O"), ("bbox_y2", "O")]
        fields += [("class", "O")] * labels + [("fname", "O")]
        rows = np.empty((1, len(ids)), fields)
        for column, i in enumerate(ids):
            values = [np.array([[v]], np.uint16) for v in (1, 2, 30, 40)]
            values += [np.array([[1 + i % 3]], np.uint8)] * labels + [f"{i:05d}.jpg"]
            rows[0, column] = tuple(values)
        return rows

    train, test = range(1, 13), range(1, 7)
    names = np.empty((1, 3), object)
    names[0, :] = CARS
    first = [f"{name.rpartition(' ')[2]} {name.rpartition(' ')[0]}" for name in CARS]
    split = {
        folder: [[f"{folder}/{i:05d}.jpg", i % 3, first[i % 3]] for i in ids]
        for folder, ids in (("cars_train", train), ("cars_test", test))
    }
    return {
        "cars_train.tgz": tgz({f"cars_train/{i:05d}.jpg": photo(i) for i in train}),
        "cars_test.tgz": tgz({f"cars_test/{i:05d}.jpg": photo(500 + i) for i in test}),
        "cars_test_annos_withlabels.mat": mat(annotations=annotations(test, True)),
        "car_devkit.tgz": tgz(
            {
                "devkit/README.txt": b"",
                "devkit/cars_meta.mat": mat(class_names=names),
                "devkit/cars_train_annos.mat": mat(annotations=annotations(train, True)),
                "devkit/cars_test_annos.mat": mat(annotations=annotations(test, False)),
            }
        ),
        "split_zhou_StanfordCars.json": json.dumps(
            {"train": split["cars_train"][:9], "val": split["cars_train"][9:], "test": split["cars_test"]}
        ).encode(),
    }


# Grounding


def reasonseg() -> dict[str, bytes]:
    """Polygons by LabelMe; rephrasings in train; one file in cp1252, an `ignore` and a `flag` shape among them."""

    def split(count: int, start: int, texts: int) -> bytes:
        members = {}
        for i in range(start, start + count):
            shapes = [
                {"label": "target", "labels": ["target"], "shape_type": "polygon", "image_name": f"{i}.jpg",
                 "points": [[4, 5], [24.5, 5], [24.5, 30], [4, 30]], "group_id": None, "flags": {}},
                {"label": "ignore", "points": [[30, 30], [40, 30], [40, 40]]},
                {"label": "flag", "points": [[0, 0], [1, 1]]},
                {"label": "target", "points": [[50, 10], [70, 10], [70, 20], [50, 20]]},
            ]  # fmt: skip
            text = [f"the café’s thing {i}, said {k} times" for k in range(texts)]
            data = json.dumps({"shapes": shapes, "text": text, "is_sentence": i % 2 == 0}, ensure_ascii=False)
            members[f"{i}_image.json"] = data.encode("cp1252" if i == start else "utf-8")
            members[f"._{i}_image.json"] = b"Mac OS X"
            members[f"{i}_image.jpg"] = photo(i)
        return zipped({f"{folder}/{name}": data for folder in [f"part{start}"] for name, data in members.items()})

    return {"train.zip": split(4, 0, 3), "val.zip": split(3, 100, 1), "test.zip": split(2, 200, 1)}


def refcoco_table(ids: list[int], start: int) -> bytes:
    """Columns and types as the published tables have them; COCO's own annotation as JSON text."""
    rows = []
    for number, i in enumerate(ids):
        sentences = [
            {"raw": f"Thing {k}!", "sent": f"thing {k} in {i}", "sent_id": 10 * number + k, "tokens": ["thing", str(k)]}
            for k in range(2)
        ]
        annotation = {
            "segmentation": [[4.0, 5.0, 24.5, 5.0, 24.5, 30.25]],
            "area": 400.5, "iscrowd": 0, "image_id": i, "bbox": [4.0, 5.0, 20.5, 25.25], "category_id": 1, "id": 77 + i,
        }  # fmt: skip
        photograph = {
            "license": 1, "file_name": f"COCO_train2014_{i:012d}.jpg", "height": SIZE[1], "width": SIZE[0], "id": i,
        }  # fmt: skip
        rows.append(
            {
                "sent_ids": [10 * number, 10 * number + 1],
                "file_name": f"COCO_train2014_{i:012d}_{start + number}.jpg",
                "ann_id": 77 + i,
                "ref_id": start + number,
                "image_id": i,
                "split": "train",
                "sentences": sentences,
                "category_id": 1,
                "raw_anns": json.dumps(annotation),
                "raw_image_info": json.dumps(photograph),
                "raw_sentences": json.dumps(sentences),
                "image_path": f"coco/train2014/COCO_train2014_{i:012d}.jpg",
                "bbox": [4.0, 5.0, 24.5, 30.25],
                "captions": [s["sent"] for s in sentences],
                "global_image_id": f"coco.{i}",
                "anns_id": str(77 + i),
            }
        )
    return parquet(rows)


# The paper's own sets

DETECT = (
    "Detect all objects belonging to the category '{c}' in the image, and provide the bounding boxes (between 0 and "
    "1000, integer) and confidence (between 0 and 1, with two decimal places)."
)


def virft_lvis(count: int) -> bytes:
    """One row an image and category; the last asks the first image for another one, and has none."""
    rows = [
        {
            "image": {"bytes": photo(3000 + i, kind="PNG"), "path": None},
            "problem": DETECT.format(c="horse_buggy"),
            "solution": "<answer>[{'Position': [125, 250, 500, 750], 'Confidence': 1}]</answer>",
        }
        for i in range(count - 1)
    ]
    nothing = {"problem": DETECT.format(c="die"), "solution": "<answer>No Objects</answer>"}
    return parquet([*rows, rows[0] | nothing])


def virft_flowers(count: int) -> bytes:
    return parquet(
        [
            {
                "image": {"bytes": photo(4000 + i, kind="PNG"), "path": "image.png"},
                "problem": "This is an image containing a plant. Please identify the species of the plant.",
                "solution": f"<answer>Flower {1 + i % 3}</answer>",
            }
            for i in range(count)
        ]
    )


# RF20-VL


def roboflow() -> bytes:
    """COCO export: a class 0 that no box has; each split numbers images and boxes from 0; a box over the border."""
    told = "# Overview\n- [bee](#bee)\n# Object Classes\n## Bee\n### Description\nHas fur.\n### Instructions\n"
    told += "Draw its wings.\n"
    members = {"README.dataset.txt": told.encode(), "README.roboflow.txt": b""}
    seed = 0
    for split, count in (("train", 4), ("valid", 2), ("test", 3)):
        images, rows = [], []
        for i in range(count):
            name = f"frame_{i}_jpg.rf.{seed:032x}.jpg"
            seed += 1
            members[f"{split}/{name}"] = photo(6000 + seed)
            images.append(
                {"id": i, "license": 1, "file_name": name, "height": SIZE[1], "width": SIZE[0], "date_captured": ""}
            )
            rows.append(
                {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [60, 5, 20, 10], "area": 200,
                 "segmentation": [], "iscrowd": 0}
            )  # fmt: skip
        members[f"{split}/_annotations.coco.json"] = json.dumps(
            {
                "info": {"year": "2025"},
                "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
                "categories": [
                    {"id": 0, "name": "objects", "supercategory": "none"},
                    {"id": 1, "name": "bee", "supercategory": "objects"},
                    {"id": 2, "name": "wasp", "supercategory": "objects"},
                ],
                "images": images,
                "annotations": rows,
            }
        ).encode()
    return zipped(members)
