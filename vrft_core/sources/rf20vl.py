"""One data set of RF20-VL or RF100-VL (Robicheaux et al., 2025) from Roboflow, which wants a (free) key.

Roboflow packs archives when asked, so no checksum is published; the content is checked as all others.
"""

import json
import os
import re
from pathlib import Path

import requests
from pydantic import Field

from vrft_core.errors import InputError
from vrft_core.sources import archives, boxes, selection, writing
from vrft_core.sources.download import fetch, present
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File, addresses
from vrft_core.sources.writing import Content, Images

LICENCE = Licence(
    "rf20vl",
    "Apache 2.0",
    "Robicheaux et al., Roboflow100-VL: A Multi-Domain Object Detection Benchmark for Vision-Language Models, 2025",
    "https://github.com/roboflow/rf100-vl",
    ask=False,
)
API = "https://api.roboflow.com"
KEY = "ROBOFLOW_API_KEY"
SPLITS = {"train": "train", "valid": "val", "test": "eval"}
TOLD, LONGEST = "README.dataset.txt", 1000  # what the annotators were told; characters kept of a class
HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*$", re.MULTILINE)


class Settings(selection.Settings):
    """`project`: its name in the address on Roboflow; `version`: the one to use, so that it stays the same.
    `workspace`: roboflow20vl-fsod has the ten-shot training sets, roboflow20vl-full everything."""

    project: str = Field(pattern=r"^[a-z0-9-]+$")
    version: int = Field(ge=1)
    workspace: str = Field("roboflow20vl-fsod", pattern=r"^[a-z0-9-]+$")


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json, in the published splits.

    Roboflow puts a class 0 before the real ones that no box has: it is dropped, and the ids count from 0 as in the
    benchmark's own reader. What the annotators were told of a class stays with it, as `instructions`. Raises InputError
    as `download.fetch` and `writing.write` do, and without a key.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    file = archive_file(settings)
    if present(file, cache) is None and not addresses(file):
        file = archive_file(settings, (_link(settings),))
    archive = fetch([file], cache)[file]
    files = {f"{split}/_annotations.coco.json": ours for split, ours in SPLITS.items()}
    texts = dict(archives.members(archive, {*files, TOLD}.__contains__))
    told = _instructions(texts.get(TOLD, b"").decode("utf-8", errors="replace"))
    images: list[dict] = []
    rows: list[dict] = []
    names: dict[int, str] | None = None
    unusable, ids = 0, {}
    for member, ours in files.items():
        if member not in texts:
            raise InputError(archive, f"holds no file {member!r}", "is it the COCO export of Roboflow?")
        data = _parsed(texts[member], f"{archive}: {member}")
        found = _categories(data, f"{archive}: {member}")
        if names not in (None, found):
            raise InputError(f"{archive}: {member}", "has other categories than train", "ask Roboflow for a new export")
        names = found
        split, bad = boxes.read(data, names, f"{archive}: {member}", shift=1)
        unusable += bad
        for old, image in split.images.items():  # each file numbers its images from 0
            new = len(ids) + 1
            ids[f"{member.split('/')[0]}/{image['file_name']}"] = new
            images.append(image | {"id": new, "split": ours})
            rows += [row | {"image_id": new} for row in split.boxes[old]]
    content = Content(
        images,
        rows,
        [{"id": number, "name": name} | told.get(_plain(name), {}) for number, name in (names or {}).items()],
        {"source": "rf20vl", **settings.model_dump(), "unusable_boxes": unusable},
    )
    return content, lambda rows: ((ids[name], data) for name, data in archives.members(archive, ids.__contains__))


def archive_file(settings: Settings, urls: tuple[str, ...] = ()) -> File:
    name = f"{settings.workspace}-{settings.project}-v{settings.version}.zip"
    page = f"https://universe.roboflow.com/{settings.workspace}/{settings.project}"
    return File("rf20vl", name, urls, LICENCE, check=_is_export, by_hand=f"{name}: {page}, export as COCO JSON")


def _is_export(path: Path) -> None:
    archives.read(path, "train/_annotations.coco.json")


def _parsed(text: bytes, where: str) -> dict:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(where, f"not valid JSON: {error}", "fetch it again") from None


def _categories(data: dict, where: str) -> dict[int, str]:
    """The real classes from 0, by name. Raises InputError where the class 0 that Roboflow adds is not there."""
    try:
        table = {row["id"]: row for row in data["categories"]}
        if table[0]["supercategory"] != "none":
            raise KeyError(0)
        return {number - 1: str(row["name"]) for number, row in sorted(table.items()) if number}
    except (KeyError, TypeError):
        raise InputError(where, "categories: class 0 is not Roboflow's own", "export it as COCO JSON") from None


def _instructions(text: str) -> dict[str, dict[str, str]]:
    """What stands below each heading of a Markdown text, down to the next one as high, by the heading in plain."""
    found, headings = dict[str, dict[str, str]](), list(HEADING.finditer(text))
    for number, one in enumerate(headings):
        below = (other.start() for other in headings[number + 1 :] if len(other[1]) <= len(one[1]))
        said = " ".join(HEADING.sub("", text[one.end() : next(below, len(text))]).split())
        if said := "".join(filter(str.isprintable, said[:LONGEST])):
            found.setdefault(_plain(one[2]), {"instructions": said})
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().lower()


def _link(settings: Settings) -> str:
    """Where the export may be fetched now. Raises InputError without a key, and when Roboflow refuses."""
    key = os.environ.get(KEY)
    page = f"{API}/{settings.workspace}/{settings.project}/{settings.version}/coco"
    if not key:
        raise InputError(
            KEY, "is not set; Roboflow gives its data to users with a (free) key", "set it, or fetch "
            f"{archive_file(settings).name} by hand into rf20vl/ of a folder that VRFT_DATA_DIR names"
        )  # fmt: skip
    try:
        answer = requests.get(page, params={"api_key": key}, timeout=60)
    except requests.exceptions.RequestException as error:  # its text would show the key
        raise InputError(page, f"cannot be asked: {type(error).__name__}", "try again, or fetch it by hand") from None
    if answer.status_code == 202:
        raise InputError(page, "Roboflow is still packing the export", "try again in a minute")
    try:
        return str(answer.json()["export"]["link"])
    except (ValueError, KeyError, TypeError):
        raise InputError(
            page, f"answers {answer.status_code} and gives no link", "check project, version and key"
        ) from None
