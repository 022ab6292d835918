"""Names on images can be read in more scripts than ASCII's."""

import pytest

from vrft_core.lettering import font


@pytest.mark.parametrize("word", ["grün", "été", "кошка", "γάτα", "kedi ğış"])
def test_every_letter_of_a_name_has_a_shape_of_its_own(word):
    missing = bytes(font(20).getmask("\U0010fffd"))

    shapes = [bytes(font(20).getmask(letter)) for letter in set(word) - {" "}]

    assert missing not in shapes
    assert len(set(shapes)) == len(shapes)
