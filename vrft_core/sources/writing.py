"""What all sources end with: images of a data set and one annotation file in the project's schema, or nothing.

Which images and annotations there are is decided by a source; fetching belongs to `download`.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from vrft_core import annotations, io
from vrft_core.errors import InputError
from vrft_core.progress import Progress
from vrft_core.sources.published import safe_name

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
KEPT = ("JPEG", "PNG")  # other formats become PNG, so that every later reader can do without them
ORDER = {"eval": 0, "val": 1, "train": 2}  # of equal images, those of the first stay


@dataclass
class Content:
    """What a source says.

    `images` rows: id, file_name (the official one; it need not be unique over splits), split, and where known width
    and height, which the file must then have, and neg_category_ids and not_exhaustive_category_ids, [] where a source
    does not know them. `annotations` rows: image_id, category_id, bbox (xywh pixels; None for the whole image), and
    whatever a task adds; id, area, segmentation and iscrowd are filled in. `categories` rows: id, name; counts and
    letters are filled in over the training images where they are missing.
    """

    images: list[dict]
    annotations: list[dict]
    categories: list[dict]
    info: dict = field(default_factory=dict)


Images = Callable[[list[dict]], Iterable[tuple[int, bytes]]]  # rows of images → id and bytes of each, in any order


def write(directory: Path, content: Content, images: Images) -> None:
    """Make `directory` hold images/SPLIT/NAME and annotations.json.

    An image with the same pixels as one of another split is left out, with its annotations, from train before val
    before eval: nothing that is evaluated is trained on. `info.left_out` counts them.

    Raises InputError when an image is missing, does not decode, or has another size than its row says, and when
    nothing remains of a split that had images; then nothing has been written.
    """
    rows = {row["id"]: row for row in content.images}
    with io.new_directory(directory) as new:
        progress = Progress(f"images of {directory.name}", max(1, len(rows)))
        pixels: dict[int, str] = {}
        for image_id, data in images([dict(row) for row in content.images]):
            pixels[image_id] = _place(new, rows[image_id], data)
            progress.step()
        if missing := [row for row in content.images if row["id"] not in pixels]:
            raise InputError(
                directory.name,
                f"no image {missing[0]['file_name']!r} in what was fetched (and {len(missing) - 1} more)",
                "is it the data of the official layout?",
            )
        left_out = _drop_copies(new, content.images, pixels)
        io.write_json(new / "annotations.json", _document(content, left_out))


def _place(new: Path, row: dict, data: bytes) -> str:
    """Write one image, and put its size, name and digest into its row. Returns a digest of its pixels."""
    name = row["file_name"]
    if not safe_name(name):
        raise InputError("images.file_name", f"{name[:100]!r} leads outside the folder", "do not use this data")
    data, size, suffix, pixels = _decoded(data, name)
    expected = (row.get("width"), row.get("height"))
    if expected != (None, None) and expected != size:
        raise InputError(
            name, f"is {size[0]}x{size[1]}, its annotations say {expected[0]}x{expected[1]}", "fetch it again"
        )
    path = PurePosixPath(row["split"]) / (name if suffix is None else PurePosixPath(name).with_suffix(suffix))
    target = new / "images" / path
    if target.exists():
        raise InputError("images.file_name", f"{path} is used twice", "is it the data of the official layout?")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    row.update(file_name=str(path), width=size[0], height=size[1], sha256=hashlib.sha256(data).hexdigest())
    return pixels


def _decoded(data: bytes, name: str) -> tuple[bytes, tuple[int, int], str | None, str]:
    """The bytes to keep, the image's size, its new suffix where it is saved again, and a digest of its pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                kept, plain = image.format in KEPT, image.convert("RGB")
                pixels = hashlib.sha256(b"%d %d " % plain.size + plain.tobytes()).hexdigest()
                if kept:
                    return data, plain.size, None, pixels
                buffer = BytesIO()
                plain.save(buffer, "PNG")
                return buffer.getvalue(), plain.size, ".png", pixels
    except Exception as error:  # whatever a broken file leads a decoder to raise
        raise InputError(name, f"does not decode: {error}", "fetch it again") from None


def _drop_copies(new: Path, images: list[dict], pixels: dict[int, str]) -> dict[str, int]:
    """Remove images whose pixels another split holds already. Returns how many, by split."""
    owner: dict[str, str] = {}
    dropped: dict[str, int] = {}
    kept = []
    for row in sorted(images, key=lambda row: ORDER[row["split"]]):
        if owner.setdefault(pixels[row["id"]], row["split"]) == row["split"]:
            kept.append(row)
        else:
            (new / "images" / row["file_name"]).unlink()
            dropped[row["split"]] = dropped.get(row["split"], 0) + 1
    for split in dropped:
        if not any(row["split"] == split for row in kept):
            raise InputError(f"split {split}", "every image is also in another split", "choose other splits")
    images[:] = kept
    return dropped


def _document(content: Content, left_out: dict[str, int]) -> dict:
    by_id = {row["id"]: row for row in content.images}
    rows = []
    for row in content.annotations:
        image = by_id.get(row["image_id"])
        if image is None:
            continue
        whole = [0, 0, image["width"], image["height"]]
        bbox = whole if row["bbox"] is None else box_inside(row["bbox"], image["width"], image["height"])
        if bbox is not None:
            filled = {"area": bbox[2] * bbox[3], "segmentation": [], "iscrowd": 0} | row
            rows.append(filled | {"bbox": bbox, "id": len(rows) + 1})
    return {
        "info": content.info | {"left_out": left_out},
        "licenses": [],
        "images": [
            {"neg_category_ids": [], "not_exhaustive_category_ids": []} | row
            for row in sorted(content.images, key=lambda row: row["id"])
        ],
        "annotations": rows,
        "categories": _counted(content, rows),
    }


def _counted(content: Content, rows: list[dict]) -> list[dict]:
    training = {row["id"] for row in content.images if row["split"] == "train"}
    own = {row["id"]: row for row in content.categories}
    found = annotations.counted(own.values(), (row for row in rows if row["image_id"] in training))
    return [
        {"synset": row["name"], "synonyms": [row["name"]], "def": row["name"]} | row | own[row["id"]]
        for row in sorted(found, key=lambda row: row["id"])
    ]


def box_inside(bbox: list[float], width: int, height: int) -> list[float] | None:
    """An xywh box clipped to the image; None where nothing is left, or it is no box at all."""
    if len(bbox) != 4 or not all(isinstance(v, int | float) and abs(v) < 1e9 for v in bbox):  # also refuses NaN
        return None
    x, y, w, h = bbox
    if w <= 0 or h <= 0:
        return None
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x2 <= x1 or y2 <= y1:
        return None
    return [x, y, w, h] if (x1, y1, x2, y2) == (x, y, x + w, y + h) else [x1, y1, x2 - x1, y2 - y1]
