"""A user's own COCO or LVIS files: what is accepted, what becomes of it, and one clear line for each thing wrong."""

import json
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from own_data import PROJECT, SIZE, coco, content, init, lvis, photo, project
from small_project import edit_params, lvis_alone

from vrft_core.annotations import Annotations, frequency
from vrft_core.cell import Cell, Layout
from vrft_core.cli import main
from vrft_core.errors import InputError
from vrft_core.io import read_json, sha256, write_json
from vrft_core.params import Benchmark
from vrft_core.sources import files
from vrft_core.stages.raw import raw
from vrft_core.tasks import load_params

PHOTOS = PROJECT.parent / "shared/data/coco_photos"


def benchmark(root: Path, images: str = "photos") -> Benchmark:
    def split(name: str) -> dict:
        file = root / f"{name}.json"
        digest = sha256(file) if file.is_file() else "0" * 64
        return {"annotations": str(file), "images": str(root / images.format(split=name)), "sha256": digest}

    return Benchmark.model_validate({"task": "detection", "train": split("train"), "eval": split("eval")})


def edit(root: Path, split: str, change: Callable[[dict], object]) -> None:
    data = read_json(root / f"{split}.json")
    change(data)
    (root / f"{split}.json").write_text(json.dumps(data))


def read(root: Path, **options) -> dict:
    return files.read(benchmark(root, **options), root).data


@pytest.fixture
def root(tmp_path) -> Path:
    return project(tmp_path / "project")


# What is written


def test_images_keep_their_bytes_and_their_hash_is_recorded(root):
    files.write(root / "raw", benchmark(root), root)

    data = read_json(root / "raw/annotations.json")
    assert len(data["images"]) == 18
    for image in data["images"]:
        copied = root / "raw/images" / image["file_name"]
        assert copied.read_bytes() == (root / "photos" / image["file_name"].split("/", 1)[1]).read_bytes()
        assert sha256(copied) == image["sha256"]
        assert image["file_name"].startswith(f"{image['split']}/")


def test_writing_twice_gives_the_same_bytes_and_replaces_what_was_there(root):
    files.write(root / "raw", benchmark(root), root)
    first = content(root / "raw")
    (root / "raw/left over").touch()

    files.write(root / "raw", benchmark(root), root)

    assert content(root / "raw") == first


def test_lvis_and_coco_files_of_the_same_truth_give_the_same_annotations(root):
    as_coco = read(root)
    for split in ("train", "eval"):
        write_json(root / f"{split}.json", lvis(read_json(root / f"{split}.json")))
    as_lvis = read(root)

    assert as_lvis["annotations"] == as_coco["annotations"]
    for one, other in zip(as_coco["images"], as_lvis["images"], strict=True):
        assert one.items() <= other.items()
    assert as_lvis["categories"][0]["synset"] == "cat.n.01"
    assert as_coco["categories"][0]["synset"] == "cat"


def test_lvis_lists_are_kept_as_they_are(root):
    data = lvis(read_json(root / "train.json"))
    data["images"][0] |= {"neg_category_ids": [5], "not_exhaustive_category_ids": [1]}
    write_json(root / "train.json", data)
    write_json(root / "eval.json", lvis(read_json(root / "eval.json")))

    image = read(root)["images"][0]

    assert (image["neg_category_ids"], image["not_exhaustive_category_ids"]) == ([5], [1])


def test_coco_is_exhaustive_so_every_absent_category_is_a_verified_negative(root):
    source = Annotations.from_dict(read(root))

    for i, image in source.images.items():
        assert sorted([*image["neg_category_ids"], *source.category_ids(i)]) == [1, 2, 5]
        assert image["not_exhaustive_category_ids"] == []


def test_a_crowd_region_is_dropped_and_its_category_marked_as_not_exhaustive_there(root):
    crowd = {"id": 999, "image_id": 101, "category_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    edit(root, "eval", lambda d: d["annotations"].append(crowd))

    source = Annotations.from_dict(read(root))

    assert source.category_ids(101) == [1]
    assert source.images[101]["not_exhaustive_category_ids"] == [2]
    assert source.images[101]["neg_category_ids"] == [5]


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ([-0.5, 0, 10, 10], [0, 0, 9.5, 10]),
        ([22, 14.5, 11, 10], [22, 14.5, 10, 9.5]),
        ([1.1, 2.2, 3.3, 4.4], [1.1, 2.2, 3.3, 4.4]),
    ],
)
def test_a_box_less_than_a_pixel_over_the_border_is_clipped_and_one_inside_is_untouched(root, box, kept):
    edit(root, "train", lambda d: d["annotations"][0].update(bbox=box))

    assert read(root)["annotations"][0]["bbox"] == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([[1, 2, 11, 2, 11, 10]], [[1, 2, 11, 2, 11, 10]]),
        ({"size": [24, 32], "counts": [700, 68]}, {"size": [24, 32], "counts": [700, 68]}),
        ({"size": [24, 32], "counts": [700, 69]}, [[1, 2, 11, 2, 11, 10, 1, 10]]),
        ([[1, 2, 11]], [[1, 2, 11, 2, 11, 10, 1, 10]]),
        (None, [[1, 2, 11, 2, 11, 10, 1, 10]]),
    ],
)
def test_a_sound_mask_is_kept_and_any_other_replaced_by_the_box(root, given, kept):
    edit(root, "train", lambda d: d["annotations"][0].update(segmentation=given))

    assert read(root)["annotations"][0]["segmentation"] == kept


@pytest.mark.parametrize("images", ["photos", "photos/{split}"])
def test_images_are_found_under_their_whole_name_or_its_last_part(root, images):
    names = [image["file_name"] for image in read(root, images=images)["images"] if image["split"] == "eval"]

    assert names[0] == ("eval/eval/101.jpg" if images == "photos" else "eval/101.jpg")


# Validation split, counts


def test_validation_takes_at_most_a_quarter_and_leaves_every_category_half_of_its_images(root):
    source = Annotations.from_dict(read(root))
    before = coco("train", range(1, 13))

    val = source.split("val")
    assert 1 <= len(val.images) <= 3
    assert len(val.images) + len(source.split("train").images) == 12
    for category in (1, 2, 5):
        had = len({row["image_id"] for row in before["annotations"] if row["category_id"] == category})
        left = sum(category in source.category_ids(i) for i in source.split("train").images)
        assert left >= had / 2


def test_a_category_with_a_single_image_stays_in_training(root):
    for number in range(1, 13):
        rare = {"id": 100 + number, "name": f"rare {number}"}
        box = {"id": 900 + number, "image_id": number, "category_id": rare["id"], "bbox": [0, 0, 5, 5]}
        if number != 7:
            edit(root, "train", lambda d, r=rare, b=box: (d["categories"].append(r), d["annotations"].append(b)))

    assert [image["id"] for image in read(root)["images"] if image["split"] == "val"] == [7]


def test_the_split_depends_on_contents_alone_not_on_rows_ids_or_names(root, tmp_path):
    other = shutil.copytree(root, tmp_path / "other")

    def renumber(data: dict) -> None:
        for image in data["images"]:
            image["id"] += 5000
        for row in data["annotations"]:
            row["image_id"] += 5000
        for rows in data.values():
            random.Random(0).shuffle(rows)

    edit(other, "train", renumber)

    held_out = [{i["sha256"] for i in read(r)["images"] if i["split"] == "val"} for r in (root, other)]

    assert held_out[0] == held_out[1]


def test_copies_of_one_image_stay_in_one_split(root):
    first = next(image for image in read(root)["images"] if image["split"] == "val")
    shutil.copy(root / "photos" / first["file_name"].removeprefix("val/"), root / "photos/train/copy.jpg")
    shown = [r for r in read_json(root / "train.json")["annotations"] if r["image_id"] == first["id"]]

    def add(data: dict) -> None:
        data["images"].append({"id": 77, "width": SIZE[0], "height": SIZE[1], "file_name": "train/copy.jpg"})
        data["annotations"] += [row | {"id": 1000 + row["id"], "image_id": 77} for row in shown]

    edit(root, "train", add)

    splits = {image["id"]: image["split"] for image in read(root)["images"]}
    assert splits[77] == splits[first["id"]]


def test_counts_and_letters_are_those_of_the_training_images_that_remain(root):
    source = Annotations.from_dict(read(root))
    train = source.split("train")

    for i, category in source.categories.items():
        rows = [row for rows in train.by_image.values() for row in rows if row["category_id"] == i]
        assert category["instance_count"] == len(rows)
        assert category["image_count"] == len({row["image_id"] for row in rows})
        assert category["frequency"] == frequency(category["image_count"])


# What is refused


def header_of_a_bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 30000 x 30000 pixels."""
    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    )


def row(split: str, table: str, number: int, **fields) -> Callable[[Path], None]:
    return lambda root: edit(root, split, lambda d: d[table][number].update(fields))


def add(split: str, table: str, **fields) -> Callable[[Path], None]:
    return lambda root: edit(root, split, lambda d: d[table].append({**d[table][0], **fields}))


def drop(split: str, key: str) -> Callable[[Path], None]:
    return lambda root: edit(root, split, lambda d: d.pop(key))


def text(split: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    path = f"{split}.json"
    return lambda root: (root / path).write_text(change((root / path).read_text()))


def cut(name: str, share: float = 0.5) -> Callable[[Path], None]:
    def keep(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return lambda root: keep(root / name)


def box(value: object, *words: str, split: str = "train") -> tuple:
    return row(split, "annotations", 4, bbox=value), f"{split}.json", "annotations[4].bbox (id 5)", *words


def image(number: int, *words: str, split: str = "train", **fields) -> tuple:
    return row(split, "images", number, **fields), f"{split}.json", *words


def emptied(split: str) -> tuple:
    return (
        lambda root: edit(root, split, lambda d: d.update(annotations=[])),
        f"{split}.json",
        "annotations",
        "at least one",
    )


BROKEN = {
    "a renamed image": (
        lambda r: (r / "photos/train/3.jpg").rename(r / "photos/train/three.jpg"),
        "train.json", "images.file_name (id 3)", "images without labels: 1, such as 'three.jpg'", "add the image",
    ),
    "a truncated JPEG": (cut("photos/train/3.jpg", 0.8), "photos/train/3.jpg", "not decode"),
    "a text instead of an image": (
        lambda r: (r / "photos/eval/101.jpg").write_text("<html>"), "photos/eval/101.jpg", "known format"
    ),
    "a decompression bomb": (
        lambda r: (header_of_a_bomb(r / "photos/train/3.jpg"), row("train", "images", 2, width=30000, height=30000)(r)),
        "photos/train/3.jpg", "pixels", "scale",
    ),
    "another size": image(2, "images.width", "32x24", width=31),
    "a turned image": (lambda r: photo(r / "photos/train/3.jpg", 3, (24, 32)), "train.json", "images.width", "EXIF"),
    "a size that is no number": image(2, "images[2].height", "pixels", height="24"),
    "a box of zero width": box([1, 1, 0, 5], "width"),
    "a box of zero height": box([1, 1, 5, 0], "height", split="eval"),
    "a box of negative width": box([9, 1, -3, 5], "width"),
    "a box outside": box([20, 1, 14, 5], "32x24"),
    "a box beside the image": box([32.2, 1, 0.5, 5], "32x24"),
    "a box of NaN": box([float("nan"), 1, 2, 2], "finite"),
    "an infinite box": box([1, 1, float("inf"), 2], "finite"),
    "a box of text": box(["1", "1", "2", "2"], "finite"),
    "a box of three numbers": box([1, 1, 2], "four"),
    "a missing box": box(None, "four"),
    "a duplicate image id": (add("train", "images"), "train.json", "images[12].id", "1 is used twice"),
    "a duplicate annotation id": (add("train", "annotations"), "train.json", "annotations[44].id", "1 is used twice"),
    "a duplicate category id": (add("train", "categories"), "train.json", "categories[3].id", "1 is used twice"),
    "a duplicate category name": (add("train", "categories", id=9), "train.json", "categories.name", "'cat'"),
    "a nameless category": (row("train", "categories", 0, name=""), "train.json", "categories[0].name", "text"),
    "an id that is no number": image(0, "images[0].id", "whole number", id="1"),
    "an unknown category": (row("eval", "annotations", 0, category_id=7), "eval.json", "[0].category_id (id 1)", "7"),
    "an unknown image": (row("train", "annotations", 0, image_id=70), "train.json", "annotations[0].image_id", "70"),
    "an empty training split": emptied("train"),
    "an empty evaluation split": emptied("eval"),
    "only crowds": (
        lambda r: edit(r, "eval", lambda d: [a.update(iscrowd=1) for a in d["annotations"]]),
        "eval.json", "annotations", "at least one",
    ),
    "JSON cut in half": (cut("train.json"), "train.json", "not valid JSON at line", "truncated"),
    "JSON nested without end": (text("eval", lambda _: "[" * 100_000), "eval.json", "JSON", "replace"),
    "a missing file": (lambda r: (r / "eval.json").unlink(), "eval.json", "no such file", "path"),
    "a folder instead of a file": (
        lambda r: ((r / "eval.json").unlink(), (r / "eval.json").mkdir()), "eval.json", "cannot be read", "readable"
    ),
    "a missing image folder": (lambda r: (r / "photos").rename(r / "moved"), "photos", "train.images", "folder"),
    "a list at the top": (text("train", lambda t: f"[{t}]"), "train.json", "list", "COCO"),
    "no images": (drop("train", "images"), "train.json", "images is missing", "COCO"),
    "no categories": (drop("eval", "categories"), "eval.json", "categories is missing", "COCO"),
    "rows that are no objects": (
        lambda r: edit(r, "train", lambda d: d.update(images=[1])), "train.json", "images", "list of objects"
    ),
    "a name that climbs out": image(0, "images.file_name (id 1)", "leads out", file_name="../x.jpg"),
    "an absolute name": image(0, "images.file_name (id 1)", "leads out", file_name="/etc/x.jpg"),
    "a name longer than any file's": image(0, "images.file_name", "not in", file_name="x" * 5000),
    "no name": image(0, "images[0].file_name", "missing", file_name=None),
    "two rows of one file": image(1, "images.file_name", "1.jpg", file_name="train/1.jpg"),
    "negatives on some images": image(0, "neg_category_ids", "all", neg_category_ids=[]),
    "an evaluation image trained on, by content": (
        lambda r: shutil.copy(r / "photos/train/3.jpg", r / "photos/eval/101.jpg"),
        "eval.json", "images.file_name (id 101)", "train.json", "same content",
    ),
    "an evaluation image trained on, by id": (
        lambda r: (row("eval", "images", 0, id=3)(r), row("eval", "annotations", 0, image_id=3)(r),
                   edit(r, "eval", lambda d: d["annotations"].pop(1))),
        "eval.json", "images.id", "train.json",
    ),
    "a category with two names": (
        row("eval", "categories", 0, name="lion"), "eval.json", "categories.name (id 1)", "train.json"
    ),
    "a category with two ids": (
        lambda r: (add("eval", "categories", id=8, name="x")(r), add("train", "categories", id=9, name="x")(r)),
        "eval.json", "categories.id", "train.json",
    ),
    "one annotated image": (
        lambda r: edit(r, "train", lambda d: d.update(annotations=d["annotations"][:2])), "train.json", "images", "two"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_ends_in_one_line_that_names_file_field_and_remedy_and_changes_nothing(root, name, capsys):
    break_it, *words = BROKEN[name]
    break_it(root)
    before = content(root)

    assert init(root) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("vrft: ")
    assert "; " in printed.err
    for word in words:
        assert word in printed.err
    assert content(root) == before


@pytest.mark.parametrize("name", ["a renamed image", "a truncated JPEG", "a box of zero width", "JSON cut in half"])
def test_the_stage_refuses_data_that_broke_after_init_and_leaves_the_old_raw_data_as_they_were(root, name, capsys):
    assert init(root) == 0
    assert main(["--root", str(root), "stage", "raw", "--cell", "my-data-mini"]) == 0
    BROKEN[name][0](root)
    shutil.rmtree(root / "runs")  # how the stage ended is noted there
    before = content(root)
    capsys.readouterr()

    assert main(["--root", str(root), "stage", "raw", "--cell", "my-data-mini"]) == 2

    assert capsys.readouterr().err.count("\n") == 1
    shutil.rmtree(root / "runs")
    assert content(root) == before


def test_the_number_of_further_problems_is_given(root):
    edit(root, "train", lambda d: [a.update(bbox=[1, 1, 0, 0]) for a in d["annotations"][:4]])

    with pytest.raises(InputError, match=r"annotations\[0\].bbox .* \(and 3 more\)$"):
        read(root)


# The stage


def test_the_stage_says_which_categories_can_only_be_scored(root):
    def add_lion(data: dict) -> None:
        data["categories"].append({"id": 6, "name": "lion"})
        data["annotations"].append({"id": 500, "image_id": 101, "category_id": 6, "bbox": [1, 1, 2, 2]})

    edit(root, "eval", add_lion)
    assert init(root) == 0

    numbers = raw(Layout(root), load_params(root / "params.yaml"), Cell(benchmark="my-data", data="own"))

    assert numbers["only_in_eval"] == ["lion"]
    assert numbers["train_images"] + numbers["val_images"] == 12
    assert numbers["eval_images"] == 6


def test_an_official_source_that_nobody_has_built_is_refused_with_those_there_are(root, capsys):
    def prefer_official(params: dict) -> None:
        lvis_alone(params)
        grid = params["grid"]
        params["benchmarks"]["lvis"]["official"] = "nowhere"
        params["recipes"]["mini"]["data"] = "official"
        for rows in (grid["setups"], grid["cells"], grid["studies"]):
            for row in rows.values():
                row["data"] = "official"
        grid["data"] = {"lvis-official": {"benchmark": "lvis", "data": "official"}}

    edit_params(root, prefer_official)

    assert main(["--root", str(root), "stage", "raw", "--cell", "lvis-official"]) == 2

    assert "official: no source 'nowhere'; known: lvis, coco" in capsys.readouterr().err


# Real photographs


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the sample of COCO photographs is not here")
def test_real_photographs_read_the_same_as_coco_and_as_lvis_from_either_folder():
    def photographs(kind: str, folders: tuple[str, str]) -> dict:
        split = {
            name: {
                "annotations": str(PHOTOS / f"{kind}_{file}.json"),
                "images": str(PHOTOS / folder),
                "sha256": sha256(PHOTOS / f"{kind}_{file}.json"),
            }
            for name, file, folder in zip(("train", "eval"), ("train", "val"), folders, strict=True)
        }
        return files.read(Benchmark.model_validate({"task": "detection", **split}), Path()).data

    variants = [photographs(k, f) for k in ("instances", "lvis") for f in ((".", "."), ("train2017", "val2017"))]

    for variant in variants:
        assert variant["annotations"] == variants[0]["annotations"]
        assert [i["sha256"] for i in variant["images"]] == [i["sha256"] for i in variants[0]["images"]]
        assert [i["split"] for i in variant["images"]] == [i["split"] for i in variants[0]["images"]]
    assert len(variants[0]["annotations"]) == 829 + 715 - 9 - 8  # less the crowd regions
    assert [sum(i["split"] == s for i in variants[0]["images"]) for s in ("train", "val", "eval")] == [69, 23, 91]
