"""Names on images can be read in more scripts than ASCII's."""

import pytest
from PIL import Image, ImageDraw

from vrft_core.lettering import font


def shape(letter: str) -> bytes:
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((4, 4), letter, 255, font(20))
    return image.tobytes()


@pytest.mark.parametrize("word", ["grün", "été", "кошка", "γάτα", "kedi ğış"])
def test_every_letter_of_a_name_has_a_shape_of_its_own(word):
    shapes = [shape(letter) for letter in set(word) - {" "}]

    assert shape("\U0010fffd") not in shapes  # what stands for a letter that there is not
    assert len(set(shapes)) == len(shapes)
