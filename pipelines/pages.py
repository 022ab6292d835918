"""Where a browser finds reports, data docs and code: paths below Dagster's own address, so that whatever name and port
it has there, one click opens them. Serving them belongs to `webserver`.
"""

import os
from pathlib import Path
from urllib.parse import quote

import dagster as dg

FOLDERS = ("reports", "data_docs")  # of the project; everything in them can be seen
CODE = "code"  # files of the project's repository at a commit
PREFIX = "/vrft"


def served() -> bool:
    """Whether Dagster's pages are those of `make ui`; in Kubernetes they are the Helm chart's."""
    return os.environ.get("VRFT_STEPS") != "kubernetes"


def address(root: Path, page: Path) -> str | None:
    """Of a file in one of the folders; None where nobody serves it."""
    inside = page.is_relative_to(root) and page.relative_to(root).parts[0] in FOLDERS
    return f"{PREFIX}/{quote(page.relative_to(root).as_posix())}" if inside and served() else None


def link(root: Path, page: Path) -> dg.MetadataValue:
    """The page's address, or its path where it is not served."""
    found = address(root, page)
    return dg.MetadataValue.url(found) if found else dg.MetadataValue.path(str(page))
