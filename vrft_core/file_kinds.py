"""What a file that is not JSON seems to be, so that an error can say it: YOLO labels, VOC XML, a table, an archive, …

Only a guess for a message, from the first bytes and the name. Nothing here is read for its content.
"""

import re
from pathlib import PurePath

HEAD = 65_536  # bytes looked at
_LINES = 20

_MAGIC = {
    b"PK\x03\x04": "a zip archive (or an Excel sheet)",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
_SUFFIXES = {
    ".csv": "a CSV table", ".tsv": "a table with tabs", ".xml": "XML", ".yaml": "YAML", ".yml": "YAML",
}  # fmt: skip
_VALUE = r"-?(?:[0-9]{1,9}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,3})?"
_YOLO = re.compile(rf"[0-9]{{1,9}}(?:[ \t]++{_VALUE}){{4,}}\Z")


def recognised(path: object, content: bytes) -> str | None:
    """Name of a kind of file, with its article; None for what may be JSON, and for what is not known.

    Args:
        path: the file's name; its suffix is asked where the content says nothing.
        content: the file's bytes, or the first of them.
    """
    head = content[:HEAD].removeprefix(b"\xef\xbb\xbf")
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    text = head.decode("utf-8", errors="replace").strip()
    if text.startswith(("{", "[")):
        return None
    if text.startswith("<"):
        voc = re.search(r"<annotation\b", text) is not None
        return "Pascal VOC XML" if voc else "an HTML page" if "<html" in text.lower() else "XML"
    lines = [line.strip() for line in text.split("\n", _LINES)[:_LINES] if line.strip()]
    if lines and all(_YOLO.match(line) for line in lines):
        return "YOLO labels (`class x y width height` a line)"
    for separator, kind in ((",", "a CSV table"), (";", "a CSV table"), ("\t", "a table with tabs")):
        counts = {line.count(separator) for line in lines[:3]}
        if len(counts) == 1 and counts != {0}:
            return kind
    return _SUFFIXES.get(PurePath(str(path)).suffix.lower())
