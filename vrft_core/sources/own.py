"""What both kinds of a user's own data share, `folders` and `files`: each image opened, and all of them written."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.images import Size, SizeMismatch, open_rgb
from vrft_core.sources.coco_json import Problems


def opened(
    name: str, content: Path | bytes, listed: Size | None, where: object, problems: Problems
) -> tuple[Image.Image, str] | None:
    """An image as RGB at the size its labels give, upright or as stored, and the sha256 of its file.

    None, with a problem, where it is not so. `content`: its file, or what such a file holds; `where`: its labels.
    """
    shown = content if isinstance(content, Path) else Path(str(where))
    try:
        data = content.read_bytes() if isinstance(content, Path) else content
        return open_rgb(shown, listed, data), hashlib.sha256(data).hexdigest()
    except SizeMismatch as error:
        problems.add(where, f"the size of {name}, which {error.problem}", error.remedy)
    except InputError as error:
        problems.add(shown, error.problem, error.remedy)
    except OSError as error:
        problems.add(shown, f"cannot be read: {error.strerror}", "replace it")
    return None


def write(directory: Path, data: dict, contents: Mapping[int, Path | bytes]) -> None:
    """Make `directory` hold images/SPLIT/NAME (the files' own bytes) and annotations.json.

    Raises InputError, with nothing written, where an image is no longer the one that was read.
    """
    with io.new_directory(directory) as new:
        for image in data["images"]:
            target, content = new / "images" / image["file_name"], contents[image["id"]]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
            if io.sha256(target) != image["sha256"]:
                raise InputError(image["file_name"], "changed while it was being copied", "try again")
        io.write_json(new / "annotations.json", data)
