"""The small policy's vocabulary: sentences of questions, and numbers, are single tokens; everything else is bytes.

A byte-level BPE without merges. Which sentences there are is for the tasks to say (`supervision`).
Chat framing and images belong to `processor`.
"""

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END, VISION_START, VISION_END, IMAGE, VIDEO)
LIMIT = 1000  # largest coordinate of the Qwen2-VL and Qwen3-VL frames
BLANK = "\0"  # in a template of a question or an answer: a name, a number, a thought, an expression
FRAMING = ("<think>", "</think>", "<answer>", "</answer>", "user\n", "assistant\n")


def build_tokenizer(names: Sequence[str], pieces: Sequence[str], coordinate_step: int) -> PreTrainedTokenizerFast:
    """One token for each name, each piece of a text, each coordinate on the grid, each two-decimal confidence.

    Any other text is spelled in bytes and round-trips. A coordinate followed by another one takes its separator with
    it (`"120, "`), which makes a box seven tokens long. `names` may hold words with their spaces (`"left of the "`).
    """
    names = list(dict.fromkeys(names))
    pieces = list(dict.fromkeys(piece for piece in (*pieces, *FRAMING) if len(piece) > 1))
    coordinates = [str(value) for value in range(0, LIMIT + 1, coordinate_step)]
    words = [
        *pieces,
        *(f"{value}, " for value in coordinates),
        *coordinates,
        *(f"{hundredth / 100:.2f}" for hundredth in range(101)),
        *(f"{count} " for count in range(10)),
        *names,
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = list(dict.fromkeys([*SPECIAL, *alphabet, *map(_byte_level, words)]))
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], ignore_merges=True))
    whole = "|".join(re.escape(word) for word in sorted([*pieces, *names], key=len, reverse=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rf"{whole}|\d+\.\d+|\d+, |\d+ |\d+|[\s\S]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        unk_token=None,
        padding_side="left",
        additional_special_tokens=list(SPECIAL[1:]),
        clean_up_tokenization_spaces=False,
    )


def pieces_of(templates: Sequence[str]) -> list[str]:
    """What stands between the blanks of some templates."""
    return [piece for text in templates for piece in text.split(BLANK)]


def _byte_level(text: str) -> str:
    """Text in the printable alphabet of byte-level BPE."""
    [(token, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return token
