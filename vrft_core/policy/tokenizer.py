"""The small policy's vocabulary: the sentences it hears and the numbers it says are single tokens, all else is bytes.

A byte-level BPE without merges. Which sentences there are is read off `prompts`, so that the two cannot drift apart;
what other tasks ask and what their data say is handed in.
Chat framing and images belong to `processor`.
"""

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vrft_core.prompts import NO_OBJECTS, answer, question

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = (END_OF_TEXT, TURN_START, TURN_END, VISION_START, VISION_END, IMAGE, VIDEO)
LIMIT = 1000  # largest coordinate of the Qwen2-VL and Qwen3-VL frames
BLANK = "\0"
_NUMBER = r"\d+\.\d+|\d+"


def build_tokenizer(
    categories: list[str],
    coordinate_step: int,
    family: str,
    words: Sequence[str] = (),
    templates: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """One token for each category name, each coordinate on the grid, each two-decimal confidence, each template piece.

    Any other text is spelled in bytes and round-trips. A coordinate followed by another one takes its separator with
    it (`"120, "`), which makes a box seven tokens long.

    Args:
        words: further tokens, spaces included (`"left of the "`).
        templates: questions and answers of further tasks, with BLANK for each name, number, thought and expression.
            What stands between two blanks is one token.
    """
    pieces = list(dict.fromkeys([*_template_pieces(family), *_pieces(templates)]))
    names = list(dict.fromkeys([*categories, *words]))
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


def _template_pieces(family: str) -> list[str]:
    """What question and answer texts consist of between category, thought and numbers."""
    boxes = [[0] * 4] * 2
    questions = [question(BLANK, thinking=thinking, family=family) for thinking in (True, False)]
    answers = [answer(boxes, [0.0] * 2, BLANK), answer(boxes, [0.0] * 2, None), answer([], [], BLANK)]
    bare = answers[1].removeprefix("<answer>").removesuffix("</answer>")
    fragments = _pieces([*questions, *(re.sub(_NUMBER, BLANK, text) for text in (*answers, bare))])
    return [*fragments, "<think>", "</think>", "<answer>", "</answer>", NO_OBJECTS, "user\n", "assistant\n"]


def _pieces(texts: Sequence[str]) -> list[str]:
    """What stands between the texts' blanks; single characters are tokens anyway."""
    return [fragment for text in texts for fragment in text.split(BLANK) if len(fragment) > 1]


def _byte_level(text: str) -> str:
    """Text in the printable alphabet of byte-level BPE."""
    [(token, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return token
