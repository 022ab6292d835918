"""Detection's official sources, from files in the published layout on a real server to images and annotations."""

import io
import json

import official_layouts as layouts
import pytest
from served_sources import checked, official_server, server_with_photos, sizes  # noqa: F401 - fixtures

from vrft_core.errors import InputError
from vrft_core.sources import boxes, coco, lvis, lvis_json, rf20vl, virft


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
