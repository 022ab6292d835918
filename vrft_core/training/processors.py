"""The library's processors of logits, asked about some of a generation's rows: those that have not ended.

Some of them hold something of each row (`RepetitionPenaltyLogitsProcessor`: how long its padding is), so that a row
must stand where it stood when they were made.
"""

from typing import Any

from torch import Tensor
from transformers.generation.logits_process import (
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

# what changes a distribution without a look at the tokens before it, the same way in every row
UNSEEING = (SuppressTokensLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)


def unseeing(processors: Any) -> bool:
    return all(type(one) in UNSEEING for one in processors)


def scores(processors: Any, ids: Tensor, logits: Tensor, places: Tensor, prompts: Tensor) -> Tensor:
    """Processed logits [n, vocabulary] of the rows with these `places` [n] among `prompts` [rows, P].

    ids: their tokens up to here, [n, P + those of the answer].
    """
    if len(places) == len(prompts) or unseeing(processors):
        return processors(ids, logits)
    whole = ids.new_zeros(len(prompts), ids.shape[1])
    whole[:, : prompts.shape[1]] = prompts
    whole[places] = ids
    spread = logits.new_zeros(len(prompts), logits.shape[1])
    spread[places] = logits
    return processors(whole, spread)[places]
