"""The letters that texts on images are drawn with.

DejaVu Sans has accents, Greek, Cyrillic and Arabic; for other scripts fontconfig is asked for a font of this machine.
Where there is none, what cannot be drawn becomes a number, and the terminal says what it stands for.
"""

import contextlib
import re
import shutil
import subprocess
import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unicodedata import east_asian_width

from PIL import Image, ImageDraw, ImageFont

FILL = "\0"


def font(size: float, text: str = "") -> ImageFont.FreeTypeFont:
    """One with the letters of the text where there is one, else DejaVu Sans. `size`: pixels."""
    return _opened(_file(text) or _dejavu(), size)


class Letters:
    """Texts as they can be drawn; numbers stand for those parts that cannot, the same for the same words."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def text(self, said: str) -> str:
        if _file(said):
            return said
        lacking = "".join(map(re.escape, _lacking(said)))
        return re.sub(rf"[{lacking}]+(?:\s+[{lacking}]+)*", lambda found: self._number(found[0]), said)

    def lines(self) -> list[str]:
        """What the numbers stand for, and what to do about it; nothing where all could be drawn."""
        said = [f"  [{number}] {words}" for words, number in self.numbers.items()]
        install = "install one that has, such as fonts-noto-cjk (fontconfig finds it)"
        return [f"no font here has the letters of what is numbered on images; {install}:", *said] if said else []

    def _number(self, words: str) -> str:
        return f"[{self.numbers.setdefault(words, len(self.numbers) + 1)}]"


def wrapped(line: str, columns: int) -> list[str]:
    """The line in parts of at most so many columns; Chinese, Japanese and Korean letters take two."""
    return [part.replace(FILL, "") for part in textwrap.wrap(_spread(line), columns)] or [""]


def shortened(text: str, columns: int) -> str:
    spread = _spread(text)
    return text if len(spread) <= columns else f"{spread[: columns - 1].replace(FILL, '')}…"


def _spread(text: str) -> str:
    """With as many characters as the text has columns."""
    return "".join(FILL * (east_asian_width(letter) in "WF") + letter for letter in text)


@cache
def _file(text: str) -> Path | None:
    """A font with all letters of the text."""
    return _elsewhere(frozenset(text) - {" "}) if _lacking(text) else _dejavu()


def _lacking(text: str) -> list[str]:
    return [letter for letter in dict.fromkeys(text) if not letter.isspace() and not _has(letter)]


@cache
def _has(letter: str) -> bool:
    """Whether DejaVu Sans has it: what it has not looks like one that no font has."""
    images = [Image.new("L", (40, 40)) for _ in range(2)]
    for image, one in zip(images, (letter, "\U0010fffd"), strict=True):
        ImageDraw.Draw(image).text((4, 4), one, 255, _opened(_dejavu(), 20))
    return images[0] != images[1]


@cache
def _elsewhere(letters: frozenset[str]) -> Path | None:
    if not (program := shutil.which("fc-list")):
        return None
    codes = " ".join(f"{ord(letter):x}" for letter in sorted(letters) if not letter.isspace())
    command = [program, "--format", "%{file}\n", f":charset={codes}"]
    found = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout.splitlines()
    for name in sorted(set(found), key=lambda name: ("regular" not in name.lower(), name)):
        with contextlib.suppress(OSError):  # a bitmap font, for one, has a few sizes only
            _opened(Path(name), 12)
            return Path(name)
    return None


@cache
def _opened(file: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@cache
def _dejavu() -> Path:
    """The file is one of matplotlib's; to import that takes half a second, which is not needed."""
    found = find_spec("matplotlib")
    assert found and found.origin, "matplotlib is a dependency"
    return Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
