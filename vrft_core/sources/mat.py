"""MATLAB files, as two of the data sets publish their labels. scipy reads them as plain arrays; nothing is executed."""

from io import BytesIO
from typing import Any

from vrft_core.errors import InputError


def load(data: bytes, where: object) -> dict[str, Any]:
    """Variables of a MAT file, structs as dicts. Raises InputError for what is none."""
    from scipy.io import loadmat  # takes a moment; only two sources need it

    try:
        return loadmat(BytesIO(data), simplify_cells=True)
    except Exception as error:  # whatever a broken file leads the reader to raise
        raise InputError(where, f"is not a readable MAT file: {error}", "fetch it again") from None
