"""Opening image files, for models and for display: training, prediction and report see the same pixels.

Which way up an image is, and what its pixels are in 8 bits, is decided here. Resizing belongs to the callers.
"""

import contextlib
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from vrft_core.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

Size = tuple[int, int]  # width, height in pixels

_TURNS = {  # EXIF's orientation → what makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK = {  # the others undo themselves
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
}
_PLAIN = ("1", "L", "P", "RGB", "CMYK", "YCbCr")


class SizeMismatch(InputError):
    """An image has neither way up the size that its annotations give."""


def open_rgb(path: Path, listed: Size | None = None, content: bytes | None = None) -> Image.Image:
    """An image file as RGB, 8 bits a channel, in the frame of its boxes.

    Upright, as EXIF's orientation says; where annotations list it with the size that it is stored in, and not with its
    upright size, as stored. Of 16 (and 12) bits the high 8 are kept; transparent parts lie on white; of several frames
    the first counts.

    Args:
        listed: (width, height) that the annotations give, where there are any.
        content: the file's bytes, where they have been read already.

    Raises:
        InputError: naming the file, where it is missing, cut short, of an unknown format, larger than
            `Image.MAX_IMAGE_PIXELS`, or holds what no rule makes 8 bits of (32-bit integers, floats, CIELAB).
        SizeMismatch: an InputError, where neither of its sizes is the listed one.
    """
    with _opened(path, content) as image:
        return _in_frame(image, path, listed)


def size(path: Path, listed: Size | None = None) -> Size:
    """(width, height) that `open_rgb` would give, mostly from the file's header alone. Raises as `open_rgb` does."""
    with _opened(path) as image:
        _refuse_mode(image, path)
        stored, upright, _ = _sizes(image)
        return _chosen(stored, upright, listed, path)


def embeddable(path: Path, listed: Size | None = None) -> bytes:
    """A file that any reader shows as `open_rgb` does: the file's own bytes where they do, else a PNG of its pixels.

    Raises as `open_rgb` does.
    """
    with _opened(path) as image:
        *_, turn = _sizes(image)
        rgb = _in_frame(image, path, listed)
        if turn is None and image.mode in _PLAIN and not image.has_transparency_data:
            return Path(path).read_bytes()
    buffer = BytesIO()
    rgb.save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """The opened file; whatever goes wrong with it, then or in the block, becomes an InputError that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a decoder's remarks on metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path if content is None else BytesIO(content), formats=FORMATS) as image:
                yield image
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(path, "no such file", "check the path") from None
    except Image.UnidentifiedImageError:
        raise InputError(path, f"has no known format ({', '.join(FORMATS)})", "convert or remove the file") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(path, f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels", "scale it down") from None
    except Exception as error:  # unreadable; or whatever a broken file leads a decoder to raise
        raise InputError(path, f"does not decode as an image: {error}", "replace the file") from None


def _sizes(image: Image.Image) -> tuple[Size, Size, Image.Transpose | None]:
    """Size as stored, size upright, and what turns the one into the other; before the pixels are loaded.

    Of a TIFF, Pillow gives the upright size, and turns the pixels when it loads them.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 0))
    except Exception:  # EXIF data too broken to hold an orientation spoil no image
        turn = None
    width, height = image.size
    sideways = (height, width) if turn in list(_TURNS.values())[3:] else (width, height)
    return (sideways, image.size, turn) if image.format == "TIFF" else (image.size, sideways, turn)


def _chosen(stored: Size, upright: Size, listed: Size | None, path: Path) -> Size:
    if listed is None or listed == upright:
        return upright
    if listed == stored:
        return stored
    also = f" upright and {stored[0]}x{stored[1]} as stored" if stored != upright else ""
    turned = "turn the image or its boxes: no EXIF rotation does"
    raise SizeMismatch(
        path,
        f"is {upright[0]}x{upright[1]}{also}, but {listed[0]}x{listed[1]} in the annotations",
        turned if listed == upright[::-1] else "correct width and height there, or replace the file",
    )


def _in_frame(image: Image.Image, path: Path, listed: Size | None) -> Image.Image:
    _refuse_mode(image, path)
    stored, upright, turn = _sizes(image)
    as_stored = _chosen(stored, upright, listed, path) != upright
    image.load()
    rgb = _rgb(image)
    if turn is None:
        return rgb
    if image.format == "TIFF":
        return rgb.transpose(_BACK.get(turn, turn)) if as_stored else rgb
    return rgb if as_stored else rgb.transpose(turn)


def _refuse_mode(image: Image.Image, path: Path) -> None:
    if image.mode in ("I", "F", "LAB"):
        what = {"I": "32-bit integers", "F": "floating-point numbers", "LAB": "CIELAB colours"}[image.mode]
        raise InputError(path, f"holds {what}, whose brightness range is not known", "save it as 8-bit RGB")


def _rgb(image: Image.Image) -> Image.Image:
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]  # 12 in some TIFF files
        grey = (values >> (bits - 8)).astype(np.uint8)
        if isinstance(transparent, int):
            grey[values == transparent] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
