"""Where a browser finds reports and data docs: paths below Dagster's own address, so that whatever name and port it has
there, one click opens them. Serving them belongs to `webserver`.
"""

import os
from pathlib import Path
from urllib.parse import quote

import dagster as dg

FOLDERS = ("reports", "data_docs")  # of the project; everything in them can be seen
PREFIX = "/vrft"


def link(root: Path, page: Path) -> dg.MetadataValue:
    """The page's address, or its path where Dagster's pages are not served by `make ui`."""
    inside = page.is_relative_to(root) and page.relative_to(root).parts[0] in FOLDERS
    if not inside or os.environ.get("VRFT_STEPS") == "kubernetes":  # there the page is the Helm chart's
        return dg.MetadataValue.path(str(page))
    return dg.MetadataValue.url(f"{PREFIX}/{quote(page.relative_to(root).as_posix())}")
