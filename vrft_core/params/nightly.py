"""What is evaluated again every night, and how sure it must be before it reports a loss."""

from typing import Annotated

from pydantic import Field

from vrft_core.names import Key
from vrft_core.params.common import Share, Strict


class Nightly(Strict):
    """Names cells of the grid; `Params` checks that they exist."""

    cells: list[Key] = Field(default_factory=list)
    golden: Key | None = None  # the cell that is trained again for a few steps; None: none is
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05  # chance of a false alarm: of one night, and of the drift test
    tolerance: Share = 0.005  # the loss of the deciding metric, as a share, that is accepted
    hour: Annotated[int, Field(ge=0, le=23)] = 2  # of the day in UTC at which the schedule starts
