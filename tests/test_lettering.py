"""Names on images can be read in more scripts than ASCII's, or a number stands for them that the terminal explains."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, ImageFont

from vrft_core import lettering
from vrft_core.commands import contact_sheet
from vrft_core.commands.boxed import Mark, draw
from vrft_core.lettering import Letters, font, shortened, wrapped


def shape(letter: str, face: ImageFont.FreeTypeFont | None = None) -> bytes:
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((4, 4), letter, 255, face or font(20))
    return image.tobytes()


@pytest.mark.parametrize("word", ["grün", "été", "кошка", "γάτα", "kedi ğış"])
def test_every_letter_of_a_name_has_a_shape_of_its_own(word):
    shapes = [shape(letter) for letter in set(word) - {" "}]

    assert shape("\U0010fffd") not in shapes  # what stands for a letter that there is not
    assert len(set(shapes)) == len(shapes)


@pytest.fixture
def fonts(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder that holds all fonts that fontconfig knows of: none yet."""
    (tmp_path / "fonts").mkdir()
    folders = f"<dir>{tmp_path / 'fonts'}</dir><cachedir>{tmp_path / 'cache'}</cachedir>"
    (tmp_path / "fonts.conf").write_text(f"<fontconfig>{folders}</fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    known = (lettering._file, lettering._elsewhere)
    for one in known:
        one.cache_clear()
    yield tmp_path / "fonts"
    for one in known:
        one.cache_clear()


def installed(fonts: Path, letters: str) -> Path:
    """A font whose letters are all one large square."""
    pen = TTGlyphPen(None)
    for number, point in enumerate([(0, 0), (0, 1000), (1000, 1000), (1000, 0)]):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(letter): "square" for letter in letters})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Square", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(fonts / "square.ttf")
    return fonts / "square.ttf"


def test_what_no_font_can_draw_is_a_number_that_the_terminal_explains(fonts):
    letters = Letters()

    assert [letters.text(said) for said in ("猫 83 %", "小 犬", "a cat", "'猫' or 小 犬?")] == [
        "[1] 83 %", "[2]", "a cat", "'[1]' or [2]?"
    ]  # fmt: skip
    first, *lines = letters.lines()
    assert first.startswith("no font here has the letters") and "fonts-noto-cjk" in first
    assert lines == ["  [1] 猫", "  [2] 小 犬"]
    assert Letters().lines() == []


@pytest.mark.skipif(not shutil.which("fc-list"), reason="no fontconfig")
def test_a_font_of_the_machine_is_taken_for_letters_that_the_own_one_lacks(fonts):
    square = installed(fonts, "猫犬 [1]")

    assert Letters().text("猫 犬") == "猫 犬" and Letters().text("猫鳥") == "[1]"
    assert font(12, "猫 犬").path == square
    assert font(12, "a cat").path == font(12, "猫鳥").path != square
    assert shape("猫", font(20, "猫")) != shape("猫", font(20))


def test_sheets_and_boxed_images_say_what_they_could_not_draw(tmp_path, fonts):
    Image.new("RGB", (200, 200), "white").save(tmp_path / "猫.png")
    data = {
        "images": [{"id": 1, "file_name": "train/猫.png", "width": 200, "height": 200}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [9, 9, 90, 90]}],
        "categories": [{"id": 1, "name": "犬"}],
    }
    letters, boxed = Letters(), Letters()

    named = contact_sheet.sheet(data, {1: tmp_path / "猫.png"}, None, letters)
    drawn = draw(Image.new("RGB", (200, 200), "white"), [Mark("犬", (9, 40, 90, 90), 0.5)], boxed)

    assert letters.numbers == {"犬": 1, "猫": 2} and boxed.numbers == {"犬": 1}
    data["categories"][0]["name"] = "[1]"
    assert contact_sheet.sheet(data, {1: tmp_path / "猫.png"}, None, letters).tobytes() == named.tobytes()
    plain = draw(Image.new("RGB", (200, 200), "white"), [Mark("[1]", (9, 40, 90, 90), 0.5)])
    assert plain.tobytes() == drawn.tobytes()


def test_wide_letters_take_two_columns():
    assert wrapped("猫" * 7, 6) == ["猫猫猫", "猫猫猫", "猫"] and wrapped("", 6) == [""]
    assert wrapped("a cat and a dog", 6) == ["a cat", "and a", "dog"]
    assert shortened("猫" * 7, 6) == "猫猫…" and shortened("a cat", 6) == "a cat" and shortened("kitten", 5) == "kitt…"
