"""Images that look alike: the same photo resized, recompressed, cut a little. Equal bytes are found by sha256.

A perceptual hash: whether each pixel of a small grey copy is brighter than its neighbour, right and below. It says
nothing of flipped or turned copies.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vrft_core.errors import InputError

GRID = 16
BITS = 2 * GRID * GRID
ALIKE = 60  # differing bits of BITS at most: copies of a photo at half its size, JPEG quality 40, differ in 57 at most,
# different ones of 183 COCO photos in 155 and more
FLAT = 24  # grey levels: an image that varies less has a hash of noise, and is compared with none


def fingerprint(path: Path) -> np.ndarray | None:
    """The hash as bool [BITS]; None for an image that is nearly one colour. Raises InputError for no image."""
    try:
        with Image.open(path) as image:
            image.draft("L", (4 * GRID, 4 * GRID))  # a JPEG is decoded at a fraction of its size
            return looks(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(path, f"does not decode: {error}", "replace the image, or leave it out") from None


def looks(image: Image.Image) -> np.ndarray | None:
    """The same of an opened image."""
    grey = np.asarray(image.convert("L").resize((GRID + 1, GRID + 1), Image.Resampling.BOX), dtype=int)
    if np.ptp(grey) < FLAT:
        return None
    right, below = grey[:-1, 1:] > grey[:-1, :-1], grey[1:, :-1] > grey[:-1, :-1]
    return np.concatenate([right.ravel(), below.ravel()])


def alike(ours: Mapping[str, np.ndarray | None], theirs: Mapping[str, np.ndarray | None]) -> list[tuple[str, str, int]]:
    """(name in `ours`, name in `theirs`, differing bits) of each pair that looks alike, the most alike first."""
    found = []
    names, hashes = _packed(theirs)
    for name, bits in zip(*_packed(ours), strict=True):
        apart = np.bitwise_count(hashes ^ bits).sum(axis=1)
        found += [(name, names[i], int(apart[i])) for i in np.flatnonzero(apart <= ALIKE).tolist()]
    return sorted(found, key=lambda row: (row[2], row[:2]))


def _packed(hashes: Mapping[str, np.ndarray | None]) -> tuple[Sequence[str], np.ndarray]:
    """Names, and their hashes as uint64 [names, BITS / 64]; those of a hash alone."""
    kept = {name: bits for name, bits in hashes.items() if bits is not None}
    bits = np.array(list(kept.values()), dtype=bool).reshape(len(kept), BITS)
    return list(kept), np.packbits(bits, axis=1).view(np.uint64)
