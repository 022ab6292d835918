"""Files on the Hugging Face hub, and parquet tables read from them.

The hub states the sha256 of a large file with the answer; `download` compares it. HF_ENDPOINT names another hub.
"""

import os
from pathlib import Path, PurePosixPath

import pyarrow
import pyarrow.parquet

from vrft_core.errors import InputError
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File


def file(source: str, repo: str, path: str, licence: Licence, revision: str = "main", **known) -> File:
    """One file of a data set repository; it is kept as REPO's last part / the file's name."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    name = f"{repo.rpartition('/')[2]}/{PurePosixPath(path).name}"
    return File(
        source,
        name,
        (f"{endpoint}/datasets/{repo}/resolve/{revision}/{path}",),
        licence,
        **({"check": table} if path.endswith(".parquet") else {}),
        by_hand=f"https://huggingface.co/datasets/{repo}",
        **known,
    )


def table(path: Path, columns: list[str] | None = None) -> pyarrow.Table:
    """A parquet file, or some columns of it. Raises InputError for what is none and for missing columns."""
    try:
        with pyarrow.parquet.ParquetFile(path) as parquet:
            if missing := sorted(set(columns or []) - set(parquet.schema_arrow.names)):
                raise InputError(path, f"has no column {missing[0]!r}", "is it the published table?")
            if columns is None:  # only whether it is one
                return parquet.schema_arrow.empty_table()
            return parquet.read(columns)
    except (pyarrow.ArrowInvalid, OSError) as error:
        why = str(error).splitlines()[0]
        raise InputError(path, f"is not a readable parquet file: {why}", "fetch it again") from None
