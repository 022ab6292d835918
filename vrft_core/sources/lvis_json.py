"""Reading an LVIS or COCO file of full size without its polygons, which are nine tenths of it and serve no box.

The polygons are cut out of the bytes before anything is parsed: LVIS v1's training file shrinks from 1.1 GB to some
0.2 GB. What the rows mean belongs to the sources.
"""

import contextlib
import gc
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from vrft_core.errors import InputError

CHUNK = 1 << 24
LONGEST = 1 << 30  # bytes a single segmentation may have
KEY = b'"segmentation"'
BRACKETS = re.compile(rb"[\[\]]")
START = re.compile(rb"\s*:\s*")


def load(stream: IO[bytes], where: object) -> dict[str, Any]:
    """The file's JSON with every `segmentation` an empty list.

    Raises InputError for anything but an object with lists of images, annotations and categories.
    """
    try:
        with uncollected():
            data = json.loads(b"".join(without_segmentation(stream, where)))
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(where, f"not UTF-8 at byte {error.start}", "fetch it again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"not valid JSON: {error}", "is the file truncated?") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise InputError(where, f"has no list of {key}", "is it a COCO or LVIS file of instances?")
    return data


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage while millions of objects are made that are none."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def without_segmentation(stream: IO[bytes], where: object) -> Iterator[bytes]:
    """The stream's bytes, the value after each key `segmentation` replaced by `[]`.

    Inside a JSON string a quote is escaped, so the quoted key is never found in one.
    """
    rest, ended = b"", False
    while not ended:
        chunk = stream.read(CHUNK)
        ended = not chunk
        rest += chunk
        position, pieces = 0, []
        while (found := rest.find(KEY, position)) >= 0:
            start = START.match(rest, found + len(KEY))
            end = _end(rest, start.end()) if start else -1
            if end < 0:  # the value goes on in the next chunk
                break
            pieces += [rest[position : found + len(KEY)], b":[]"]
            position = end
        if ended:
            pieces.append(rest[position:])
            rest = b""
        else:
            keep = found if found >= 0 else max(position, len(rest) - len(KEY))
            pieces.append(rest[position:keep])
            rest = rest[keep:]
            if len(rest) > LONGEST:
                raise InputError(where, "a segmentation does not end", "is the file truncated?")
        yield b"".join(pieces)


def _end(data: bytes, start: int) -> int:
    """Where the JSON value that begins at `start` ends; -1 when that is not in `data`.

    Polygons are lists of lists of numbers, run lengths an object without further objects or braces in its strings.
    """
    first = data[start : start + 1]
    if first == b"{":
        return data.find(b"}", start) + 1 or -1
    if first != b"[":
        return start if first else -1
    close = data.find(b"]]", start)
    if close >= 0 and data.find(b'"', start, close) < 0 and data[start : start + 2] != b"[]":
        return close + 2
    depth = 0  # an empty list, or blanks between the brackets
    for bracket in BRACKETS.finditer(data, start):
        depth += 1 if bracket[0] == b"[" else -1
        if depth == 0:
            return bracket.end()
    return -1
