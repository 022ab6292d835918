"""Classification's official sources, from files in the published layout on a real server to images and classes."""

import io
import json

import numpy as np
import official_layouts as layouts
import pytest
from PIL import Image
from served_sources import checked, labels, official_server, sizes  # noqa: F401 - fixtures

from vrft_core.errors import InputError
from vrft_core.sources import aircraft100, cars196, classes, flowers102, pets37, virft


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
