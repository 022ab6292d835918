"""What all official sources share: the registry, and the writer that lets nothing wrong through."""

import io
import json
import math

import official_layouts as layouts
import pytest
from PIL import Image
from served_sources import checked, sizes

from vrft_core import sources
from vrft_core.errors import InputError
from vrft_core.sources import selection, writing


def test_every_source_of_the_registry_has_settings_and_write():
    for name in sources.OFFICIAL:
        module = sources.get(name)
        assert issubclass(module.Settings, selection.Settings)
        assert callable(module.write)
    with pytest.raises(InputError, match="known: lvis, coco"):
        sources.get("imagenet")


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
