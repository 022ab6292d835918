"""Every official source, from files in the published layout on a real server to images and annotations."""

import hashlib
import io
import json
import math
from pathlib import Path

import numpy as np
import official_layouts as layouts
import pytest
from data_server import serving
from PIL import Image

from vrft_core import sources
from vrft_core.annotations import SPLITS, Annotations
from vrft_core.errors import InputError
from vrft_core.sources import (
    aircraft100,
    boxes,
    cars196,
    classes,
    coco,
    flowers102,
    lvis,
    lvis_json,
    pets37,
    reasonseg,
    refcoco,
    rf20vl,
    selection,
    virft,
    writing,
)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("VRFT_ACCEPT_LICENCES", "all")
    monkeypatch.delenv("VRFT_DATA_DIR", raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def photos(server, monkeypatch):
    """COCO with its photographs, on the server."""
    layouts.publish(monkeypatch, server, coco, layouts.coco())
    return server


def checked(directory: Path) -> Annotations:
    """The annotations, once everything is so that every stage can rely on it."""
    data = json.loads((directory / "annotations.json").read_text())
    found = Annotations.from_dict(data)
    ids = [row["id"] for row in data["annotations"]]
    assert len(set(ids)) == len(ids)
    for image in found.images.values():
        path = directory / "images" / image["file_name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == image["sha256"]
        assert Image.open(path).size == (image["width"], image["height"])
        assert image["file_name"].startswith(f"{image['split']}/")
        assert image["split"] in SPLITS
        assert set(image["neg_category_ids"]) <= set(found.categories)
    for row in data["annotations"]:
        x, y, w, h = row["bbox"]
        image = found.images[row["image_id"]]
        assert 0 <= x < x + w <= image["width"] and 0 <= y < y + h <= image["height"]
        assert {"id", "image_id", "category_id", "bbox", "area", "segmentation", "iscrowd"} <= set(row)
    for category in found.categories.values():
        assert {"id", "name", "synset", "synonyms", "def", "frequency", "image_count", "instance_count"} <= set(
            category
        )
    assert {p.relative_to(directory / "images").as_posix() for p in (directory / "images").rglob("*.*")} == {
        image["file_name"] for image in found.images.values()
    }
    digests = {split: {i["sha256"] for i in found.split(split).images.values()} for split in SPLITS}
    assert not digests["train"] & (digests["val"] | digests["eval"]) and not digests["val"] & digests["eval"]
    return found


def sizes(found: Annotations) -> dict[str, int]:
    return {split: len(found.split(split).images) for split in SPLITS}


def labels(found: Annotations) -> dict[str, str]:
    """File name → class name, of a classification source."""
    assert all(len(rows) == 1 for rows in found.by_image.values())
    return {
        image["file_name"].partition("/")[2]: found.categories[found.by_image[i][0]["category_id"]]["name"]
        for i, image in found.images.items()
    }


def test_every_source_of_the_registry_has_settings_and_write():
    for name in sources.OFFICIAL:
        module = sources.get(name)
        assert issubclass(module.Settings, selection.Settings)
        assert callable(module.write)
    with pytest.raises(InputError, match="known: lvis, coco"):
        sources.get("imagenet")


# Detection


def test_coco_leaves_out_crowds_and_says_what_is_absent(photos, tmp_path):
    coco.write(tmp_path / "raw", coco.Settings(), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 9, "val": 3, "eval": 6}
    assert {row["name"] for row in found.categories.values()} == {"person", "bicycle", "cat"}
    crowded = found.images[10]
    assert crowded["not_exhaustive_category_ids"] == [2]
    assert crowded["neg_category_ids"] == []
    assert found.images[11]["neg_category_ids"] == [2, 17]
    assert found.boxes(11, 1) == [[4.0, 5.0, 24.5, 30.25]]
    assert found.by_image[11][0]["area"] == 400.5
    assert found.images[11]["license"] == 4
    assert json.loads((tmp_path / "raw/annotations.json").read_text())["info"]["unusable_boxes"] == 2


def test_coco_fetches_the_archive_of_a_folder_only_when_much_of_it_is_needed(photos, tmp_path, monkeypatch):
    coco.write(tmp_path / "one", coco.Settings(), tmp_path / "cache")
    asked = {path for path, _, _ in photos.requests}
    assert "/coco2017/train2017/000000000009.jpg" in asked
    assert not any(path.endswith("2017.zip") and "annotations" not in path for path in asked)

    monkeypatch.setattr(coco, "WHOLE", {"train2017": 5, "val2017": 1000})
    photos.requests.clear()
    coco.write(tmp_path / "two", coco.Settings(), tmp_path / "other")
    asked = [path for path, _, _ in photos.requests]
    assert "/coco2017/train2017.zip" in asked
    assert not any("/train2017/" in path for path in asked)

    assert (tmp_path / "one/annotations.json").read_bytes() == (tmp_path / "two/annotations.json").read_bytes()


def test_categories_and_limits_bound_what_is_fetched(photos, tmp_path):
    settings = coco.Settings(categories=["cat"], train_per_category=2, eval_images=2)

    coco.write(tmp_path / "raw", settings, tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 1, "val": 1, "eval": 2}
    assert [row["name"] for row in found.categories.values()] == ["cat"]
    assert {row["category_id"] for rows in found.by_image.values() for row in rows} == {17}
    assert sum(path.endswith(".jpg") for path, _, _ in photos.requests) == 4


def test_an_unknown_category_is_refused(photos, tmp_path):
    with pytest.raises(InputError, match="COCO has no category 'kat'"):
        coco.write(tmp_path / "raw", coco.Settings(categories=["kat"]), tmp_path / "cache")
    assert not (tmp_path / "raw").exists()


def test_lvis_takes_the_photographs_of_coco_and_keeps_its_own_counts(photos, tmp_path, monkeypatch):
    layouts.publish(monkeypatch, photos, lvis, layouts.lvis())

    lvis.write(tmp_path / "raw", lvis.Settings(), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 6, "val": 3, "eval": 6}
    buggy = found.categories[1]
    assert (buggy["name"], buggy["frequency"], buggy["image_count"]) == ("horse_buggy", "r", 9)
    assert buggy["def"].endswith("is only a text")
    assert found.images[11]["not_exhaustive_category_ids"] == [1]
    assert found.images[12]["neg_category_ids"] == [2]
    assert found.images[139]["file_name"] == "eval/val2017/000000000139.jpg"


def test_lvis_evaluates_the_images_whose_answer_is_known(photos, tmp_path, monkeypatch):
    layouts.publish(monkeypatch, photos, lvis, layouts.lvis())

    settings = lvis.Settings(categories=["die", "alligator"], validation=0)
    lvis.write(tmp_path / "raw", settings, tmp_path / "cache")

    found = checked(tmp_path / "raw")
    evaluated = set(found.split("eval").images)
    assert evaluated == {140, 141, 142, 144}  # 140, 142, 144 show an alligator; 141 and 144 are known to have no die
    assert set(found.split("train").images) == {10, 12, 14, 16}
    assert all(set(image["not_exhaustive_category_ids"]) <= {2, 3} for image in found.images.values())


def test_a_photograph_of_another_size_than_annotated_is_refused(photos, tmp_path):
    photos.files["/coco2017/train2017/000000000009.jpg"] = layouts.photo(9, (32, 32))

    with pytest.raises(InputError, match="is 32x32, its annotations say 64x48"):
        coco.write(tmp_path / "raw", coco.Settings(), tmp_path / "cache")
    assert not (tmp_path / "raw").exists()


@pytest.mark.slow
def test_a_broken_photograph_never_enters_the_cache(photos, tmp_path):
    photos.files["/coco2017/train2017/000000000009.jpg"] = layouts.photo(9)[:-100]

    with pytest.raises(InputError, match=r"train2017/000000000009\.jpg"):
        coco.write(tmp_path / "raw", coco.Settings(), tmp_path / "cache")
    assert not (tmp_path / "cache/coco2017/train2017/000000000009.jpg").exists()


def test_polygons_are_cut_out_wherever_a_chunk_ends(monkeypatch):
    data = json.loads(layouts._coco(layouts.TRAIN, "train2017"))
    plain = json.dumps(data)
    for text in (
        plain,
        plain.replace("]], ", "] ], ", 1),
        json.dumps(data, indent=2),
        json.dumps(data, separators=(",", ":")),
    ):
        expected = {**data, "annotations": [{**row, "segmentation": []} for row in data["annotations"]]}
        for chunk in (1, 7, 64, 1000, 10**6):
            monkeypatch.setattr(lvis_json, "CHUNK", chunk)
            assert lvis_json.load(io.BytesIO(text.encode()), "x") == expected


def test_a_cut_file_of_annotations_is_refused(monkeypatch):
    text = layouts._coco(layouts.TRAIN, "train2017")
    for length in (0, 10, 500, len(text) // 2, len(text) - 1):
        with pytest.raises(InputError, match="not valid JSON"):
            lvis_json.load(io.BytesIO(text[:length]), "x")
    with pytest.raises(InputError, match="no list of images"):
        lvis_json.load(io.BytesIO(b"[]"), "x")


# Classification


@pytest.mark.parametrize(
    ("splits", "expected"),
    [("official", {"train": 6, "val": 6, "eval": 18}), ("coop", {"train": 18, "val": 6, "eval": 6})],
)
def test_flowers(server, tmp_path, monkeypatch, splits, expected):
    layouts.publish(monkeypatch, server, flowers102, layouts.flowers())
    monkeypatch.setattr(flowers102, "CLASSES", flowers102.CLASSES[:3])

    flowers102.write(tmp_path / "raw", flowers102.Settings(splits=splits), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == expected
    names = ["pink primrose", "hard-leaved pocket orchid", "canterbury bells"]
    names = names if splits == "official" else ["flower 1", "flower 2", "flower 3"]
    assert [row["name"] for row in found.categories.values()] == names
    assert labels(found)["image_00005.jpg"] == names[1]
    assert found.images[5]["id"] == 5


def test_flowers_have_102_names():
    assert len(flowers102.CLASSES) == len(set(flowers102.CLASSES)) == 102
    assert (flowers102.CLASSES[0], flowers102.CLASSES[50], flowers102.CLASSES[101]) == (
        "pink primrose",
        "petunia",
        "blackberry lily",
    )


def test_a_foreign_split_with_a_wrong_label_is_refused(server, tmp_path, monkeypatch):
    files = layouts.flowers()
    split = json.loads(files["split_zhou_OxfordFlowers.json"])
    split["test"][0][1] = 2
    files["split_zhou_OxfordFlowers.json"] = json.dumps(split).encode()
    layouts.publish(monkeypatch, server, flowers102, files)

    with pytest.raises(InputError, match=r"image_00001\.jpg' has label 2, officially 0"):
        flowers102.write(tmp_path / "raw", flowers102.Settings(splits="coop"), tmp_path / "cache")


def test_a_web_page_in_place_of_a_split_is_not_kept(server, tmp_path, monkeypatch):
    files = layouts.flowers() | {"split_zhou_OxfordFlowers.json": b"<html>Google Drive: too many downloads</html>"}
    layouts.publish(monkeypatch, server, flowers102, files)

    with pytest.raises(InputError) as refused:
        flowers102.write(tmp_path / "raw", flowers102.Settings(splits="coop"), tmp_path / "cache")
    assert "https://drive.google.com/file/d/1Pp0sRXzZFZq15zVOzKjKBu4A9i01nozT" in str(refused.value)
    assert not (tmp_path / "cache/flowers102/split_zhou_OxfordFlowers.json").exists()


@pytest.mark.parametrize(
    ("splits", "expected"),
    [("official", {"train": 6, "val": 3, "eval": 6}), ("coop", {"train": 6, "val": 3, "eval": 6})],
)
def test_pets(server, tmp_path, monkeypatch, splits, expected):
    layouts.publish(monkeypatch, server, pets37, layouts.pets())

    pets37.write(tmp_path / "raw", pets37.Settings(splits=splits), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == expected
    assert [row["name"] for row in found.categories.values()] == ["abyssinian", "american bulldog", "maine coon"]
    assert labels(found)["Maine_Coon_34.jpg"] == "maine coon"
    assert labels(found)["Abyssinian_34.png"] == "abyssinian"  # a GIF under a wrong name


def test_aircraft_without_the_strip(server, tmp_path, monkeypatch):
    layouts.publish(monkeypatch, server, aircraft100, layouts.aircraft())

    aircraft100.write(tmp_path / "raw", aircraft100.Settings(), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 6, "val": 6, "eval": 6}
    assert [row["name"] for row in found.categories.values()] == layouts.AIRCRAFT
    assert labels(found)["1025795.jpg"] == layouts.AIRCRAFT[1025795 % 3]
    assert all((image["width"], image["height"]) == (64, 48) for image in found.images.values())
    assert all(image["height"] == 48 for image in found.images.values())


def test_cutting_the_strip_costs_less_than_saving_at_high_quality():
    data = layouts.photo(1, (64, 68))
    with Image.open(io.BytesIO(data)) as image:
        upper = image.crop((0, 0, 64, 48))
    buffer = io.BytesIO()
    upper.save(buffer, "JPEG", quality=95)

    ours, usual = (
        np.abs(np.asarray(upper, float) - np.asarray(Image.open(io.BytesIO(saved)), float)).mean()
        for saved in (aircraft100.without_strip(data), buffer.getvalue())
    )
    assert ours < usual


@pytest.mark.parametrize("splits", ["official", "coop"])
def test_cars(server, tmp_path, monkeypatch, splits):
    layouts.publish(monkeypatch, server, cars196, layouts.cars())

    cars196.write(tmp_path / "raw", cars196.Settings(splits=splits), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 9, "val": 3, "eval": 6}
    names = [row["name"] for row in found.categories.values()]
    assert names == (
        layouts.CARS
        if splits == "official"
        else ["2000 AM General Hummer SUV", "2012 Acura RL Sedan", "2012 Audi R8 Coupe"]
    )
    assert labels(found)["cars_test/00001.jpg"] == names[1]


def test_cars_tell_where_copies_must_be_placed_since_the_server_is_gone(tmp_path, monkeypatch):
    for name in ("VRFT_DATA_DIR", "VRFT_MIRROR_CARS196"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VRFT_ACCEPT_LICENCES", "cars196")

    with pytest.raises(InputError) as refused:
        cars196.write(tmp_path / "raw", cars196.Settings(), tmp_path / "cache")
    for part in ("cars_train.tgz (979,269,282 bytes)", "the authors' server is gone", "VRFT_MIRROR_CARS196"):
        assert part in str(refused.value)


def test_held_out_images_depend_on_names_alone_and_leave_every_class_half():
    train = {f"{label}_{number}": label for label in range(5) for number in range(8)}

    one = classes.with_validation({"train": train}, 0.25)
    other = classes.with_validation({"train": dict(reversed(train.items()))}, 0.25)

    assert one == other
    assert len(one["val"]) == 10
    for label in range(5):
        assert sum(value == label for value in one["train"].values()) >= 4
    assert classes.with_validation({"train": train}, 0)["val"] == {}
    with pytest.raises(InputError, match="too few training images"):
        classes.with_validation({"train": {"a": 0, "b": 1}}, 0.25)


# Grounding


@pytest.mark.parametrize(
    ("box", "expected"),
    [("all", [4, 5, 60, 25]), ("first", [4, 5, 20.5, 25])],  # the second target reaches over the border at 64
)
def test_reasonseg_has_one_annotation_an_expression(server, tmp_path, monkeypatch, box, expected):
    layouts.publish(monkeypatch, server, reasonseg, layouts.reasonseg())
    monkeypatch.setattr(reasonseg, "IMAGES", {"train": 4, "val": 3, "test": 2})

    reasonseg.write(tmp_path / "raw", reasonseg.Settings(box=box), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 4, "val": 3, "eval": 2}
    (first,) = (image for image in found.images.values() if image["file_name"] == "train/0_image.jpg")
    rows = found.by_image[first["id"]]
    assert [row["expression"] for row in rows] == [f"the café’s thing 0, said {k} times" for k in range(3)]
    assert rows[0]["bbox"] == expected
    assert rows[0]["targets"] == [[4, 5, 20.5, 25], [50, 10, 20, 10]]
    assert len(rows[0]["segmentation"]) == 2
    assert rows[0]["area"] == 20.5 * 25 + 20 * 10
    assert found.categories[rows[0]["category_id"]]["name"] == "sentence"
    assert first["ignore"] == [[30, 30, 40, 30, 40, 40]]


def test_reasonseg_evaluates_val_without_the_archive_that_must_be_fetched_by_hand(server, tmp_path, monkeypatch):
    files = layouts.reasonseg()
    del files["test.zip"]
    layouts.publish(monkeypatch, server, reasonseg, files)
    monkeypatch.setattr(reasonseg, "IMAGES", {"train": 4, "val": 3, "test": 2})

    reasonseg.write(tmp_path / "raw", reasonseg.Settings(evaluate="val"), tmp_path / "cache")
    assert sizes(checked(tmp_path / "raw")) == {"train": 3, "val": 1, "eval": 3}

    with pytest.raises(InputError, match=r"test\.zip: https://drive\.google\.com"):
        reasonseg.write(tmp_path / "other", reasonseg.Settings(), tmp_path / "cache")


@pytest.fixture
def tables(photos, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", photos.address)
    splits = {"train": [9, 10, 10, 11], "val": [12, 13], "testA": [14, 15, 16]}
    for number, (split, ids) in enumerate(splits.items()):
        name = refcoco.TABLES["refcoco"][split]
        data = layouts.refcoco_table(ids, 100 * number)
        path = f"/datasets/jxu124/refcoco/resolve/main/data/{name}"
        photos.files[path] = data
        photos.headers[path] = {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
    monkeypatch.setattr(refcoco, "REFS", {"refcoco": {split: len(ids) for split, ids in splits.items()}})
    return photos


def test_refcoco_expressions_point_at_boxes_of_the_2017_photographs(tables, tmp_path):
    refcoco.write(tmp_path / "raw", refcoco.Settings(), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 3, "val": 2, "eval": 3}
    assert len(found.by_image[10]) == 4
    row = found.by_image[14][0]
    assert (row["expression"], row["bbox"], row["target"]) == ("thing 0 in 14", [4.0, 5.0, 20.5, 25.25], 91)
    assert found.images[14]["file_name"] == "eval/train2017/000000000014.jpg"


def test_refcoco_refuses_a_table_with_another_number_of_refs_and_a_split_it_has_not(tables, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="it has testA, testB"):
        refcoco.write(tmp_path / "raw", refcoco.Settings(evaluate="test"), tmp_path / "cache")
    monkeypatch.setattr(refcoco, "REFS", {"refcoco": {"train": 5, "val": 2, "testA": 3}})
    with pytest.raises(InputError, match="has 4 refs, 5 are right"):
        refcoco.write(tmp_path / "raw", refcoco.Settings(), tmp_path / "cache")


# The paper's own sets


def test_the_papers_detection_set_trains_and_the_official_set_evaluates(photos, tmp_path, monkeypatch):
    layouts.publish(monkeypatch, photos, lvis, layouts.lvis())
    monkeypatch.setenv("HF_ENDPOINT", photos.address)
    photos.files["/datasets/laolao77/ViRFT_LVIS_few_shot/resolve/main/data/train-00000-of-00001.parquet"] = (
        layouts.virft_lvis(5)
    )
    few = virft.SETS["lvis-few-shot"]
    monkeypatch.setitem(
        virft.SETS,
        "lvis-few-shot",
        virft.Set(few.repo, 1, 5, lvis, boxes.Settings(categories=["horse_buggy", "die"], validation=0)),
    )

    virft.write(tmp_path / "raw", virft.Settings(dataset="lvis-few-shot"), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 4, "val": 0, "eval": 6}
    train = found.split("train")
    asked_twice = min(train.images)
    assert train.boxes(asked_twice, 1) == [[8.0, 12.0, 32.0, 36.0]]
    assert train.images[asked_twice]["neg_category_ids"] == [2]
    assert not any("train2017/" in path for path, _, _ in photos.requests)  # official training images are not needed


def test_the_papers_classification_set_names_classes_as_coop_does(server, tmp_path, monkeypatch):
    layouts.publish(monkeypatch, server, flowers102, layouts.flowers())
    monkeypatch.setattr(flowers102, "CLASSES", flowers102.CLASSES[:3])
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    server.files["/datasets/laolao77/ViRFT_CLS_flower_4_shot/resolve/main/data/train-00000-of-00001.parquet"] = (
        layouts.virft_flowers(12)
    )
    monkeypatch.setitem(
        virft.SETS, "flowers-4-shot", virft.Set("ViRFT_CLS_flower_4_shot", 1, 12, flowers102, virft.COOP)
    )

    virft.write(tmp_path / "raw", virft.Settings(dataset="flowers-4-shot"), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 12, "val": 6, "eval": 6}
    assert [row["image_count"] for row in found.categories.values()] == [4, 4, 4]


# RF20-VL


def test_roboflow_exports_lose_class_0_and_are_clipped(server, tmp_path, monkeypatch):
    monkeypatch.setenv("VRFT_MIRROR_RF20VL", f"{server.address}/rf20vl")
    server.files["/rf20vl/roboflow20vl-fsod-bees-v2.zip"] = layouts.roboflow()

    rf20vl.write(tmp_path / "raw", rf20vl.Settings(project="bees", version=2), tmp_path / "cache")

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 4, "val": 2, "eval": 3}
    assert {i: row["name"] for i, row in found.categories.items()} == {0: "bee", 1: "wasp"}
    assert found.boxes(1, 0) == [[60, 5, 64, 15]]
    assert found.images[1]["neg_category_ids"] == [1]
    assert [row.get("instructions") for row in found.categories.values()] == ["Has fur. Draw its wings.", None]


def test_roboflow_is_asked_for_a_link_with_the_key_of_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.delenv("VRFT_MIRROR_RF20VL", raising=False)
    monkeypatch.setattr(rf20vl, "API", server.address)
    settings = rf20vl.Settings(project="bees", version=2)
    monkeypatch.delenv(rf20vl.KEY, raising=False)
    with pytest.raises(InputError, match=r"ROBOFLOW_API_KEY.*roboflow20vl-fsod-bees-v2\.zip"):
        rf20vl.write(tmp_path / "raw", settings, tmp_path / "cache")

    monkeypatch.setenv(rf20vl.KEY, "SECRET")
    with pytest.raises(InputError, match="answers 404") as refused:
        rf20vl.write(tmp_path / "raw", settings, tmp_path / "cache")
    assert "SECRET" not in str(refused.value)

    link = {"export": {"link": f"{server.address}/export.zip?token=SECRET"}}
    server.files["/roboflow20vl-fsod/bees/2/coco"] = json.dumps(link).encode()
    server.files["/export.zip"] = layouts.roboflow()
    rf20vl.write(tmp_path / "raw", settings, tmp_path / "cache")

    assert sizes(checked(tmp_path / "raw")) == {"train": 4, "val": 2, "eval": 3}
    assert "SECRET" not in (tmp_path / "cache/rf20vl/record.json").read_text()


# The writer


def content(**splits: list[str]) -> writing.Content:
    names = [(name, split) for split, images in splits.items() for name in images]
    images = [{"id": i, "file_name": name, "split": split} for i, (name, split) in enumerate(names)]
    return writing.Content(
        images,
        [{"image_id": row["id"], "category_id": 1, "bbox": None} for row in images],
        [{"id": 1, "name": "thing"}],
    )


def test_an_evaluated_image_is_not_trained_on_even_when_it_was_saved_anew(tmp_path):
    what = content(train=["a.jpg", "b.png", "c.jpg"], val=["d.png"], eval=["e.jpg"])
    same = layouts.photo(1)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(same)).save(buffer, "PNG")
    data = [layouts.photo(2), buffer.getvalue(), layouts.photo(3), layouts.photo(4, kind="PNG"), same]

    writing.write(tmp_path / "raw", what, lambda rows: enumerate(data))

    found = checked(tmp_path / "raw")
    assert sizes(found) == {"train": 2, "val": 1, "eval": 1}
    assert found.categories[1]["image_count"] == 2
    assert json.loads((tmp_path / "raw/annotations.json").read_text())["info"]["left_out"] == {"train": 1}


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("../evil.jpg", layouts.photo(1), "leads outside"),
        ("/evil.jpg", layouts.photo(1), "leads outside"),
        ("a.jpg", layouts.photo(1)[:-200], "does not decode"),
        ("a.jpg", b"<html>", "does not decode"),
        ("a.jpg", None, "no image 'a.jpg'"),
    ],
)
def test_nothing_is_written_when_an_image_is_wrong(tmp_path, name, data, problem):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/before").write_text("stays")

    with pytest.raises(InputError, match=problem):
        writing.write(tmp_path / "raw", content(train=[name]), lambda rows: [(0, data)] if data else [])

    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["before"]


def test_boxes_are_clipped_to_the_image_and_what_is_none_is_dropped():
    inside = writing.box_inside
    assert inside([1, 2, 3, 4], 10, 10) == [1, 2, 3, 4]
    assert inside([-1, 8, 5, 5], 10, 10) == [0, 8, 4, 2]
    assert inside([0.1, 0.2, 0.7, 0.1], 10, 10) == [0.1, 0.2, 0.7, 0.1]  # unchanged to the last bit
    for bad in (
        [1, 1, 0, 5],
        [1, 1, -2, 5],
        [20, 1, 5, 5],
        [1, 1, math.nan, 5],
        [1, 1, math.inf, 5],
        [1, 2, 3],
        ["1", 1, 1, 1],
    ):
        assert inside(bad, 10, 10) is None
