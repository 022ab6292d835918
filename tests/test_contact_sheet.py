"""The sheet that `vrft init FOLDER` draws: it names every label in an image, and draws only chosen ones."""

from pathlib import Path

import pytest
from PIL import Image, ImageColor

from vrft_core.commands import contact_sheet
from vrft_core.commands.contact_sheet import COLOURS, LINE, MOST, TILE, sheet

NAMES = [f"a thing of kind {n}" for n in range(60)]


@pytest.fixture
def image(tmp_path) -> Path:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def drawn(image: Path, kinds: int, categories: list[str] | None = None) -> Image.Image:
    rows = [{"image_id": 1, "category_id": n, "bbox": [n * 3, n * 3, 20, 20]} for n in range(kinds)]
    data = {
        "images": [{"id": 1, "file_name": "train/a.png", "width": 200, "height": 200}],
        "annotations": rows,
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES)],
    }
    return sheet(data, {1: image}, categories)


def colours(whole: Image.Image) -> set[str]:
    found = {colour for _, colour in whole.getcolors(1 << 24) or []}
    return {colour for colour in COLOURS if ImageColor.getrgb(colour) in found}


@pytest.mark.parametrize("kinds", [1, 7, 14, MOST, MOST + 3])
def test_each_label_is_named_once_within_the_tile_with_its_boxes_number(image, kinds):
    words = contact_sheet._legend(NAMES[:kinds], "a.png")

    shown = min(kinds, MOST)
    assert [text for _, _, text, _ in words[:shown]] == [
        f"{n} {name}" if kinds > 1 else name for n, name in enumerate(NAMES[:shown], 1)
    ]
    font = contact_sheet.lettering.font(12)
    assert all(x + font.getlength(text) <= TILE for _, x, text, _ in words)
    assert any("and 3 more labels" in text for _, _, text, _ in words) == (kinds > MOST)
    assert words[-1][2] == "a.png"
    assert drawn(image, kinds).height == TILE + LINE * (1 + words[-1][0]) + 4


def test_labels_of_one_image_have_different_colours_while_there_are_enough(image):
    assert colours(drawn(image, len(COLOURS))) == set(COLOURS)


def test_only_chosen_categories_are_drawn(image):
    few = drawn(image, 9, NAMES[4:6])
    assert len(colours(few)) == 2 < len(colours(drawn(image, 9)))
    assert few.height < drawn(image, 9).height
