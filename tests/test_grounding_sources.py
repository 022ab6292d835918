"""Grounding's official sources, from files in the published layout on a real server to images and expressions."""

import official_layouts as layouts
import pytest
from served_sources import checked, official_server, server_with_photos, server_with_tables, sizes  # noqa: F401 - fixtures

from vrft_core.errors import InputError
from vrft_core.sources import reasonseg, refcoco


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
