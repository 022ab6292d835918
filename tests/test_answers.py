"""What the parser of model answers accepts, names, and survives."""

import importlib.util
import math
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrft_core.tasks.answer_span import has_form
from vrft_core.tasks.box_answers import MAX_BOXES, Detection, Parsed
from vrft_core.tasks.classification import answers as classification
from vrft_core.tasks.detection import answers as detection
from vrft_core.tasks.grounding import answers as grounding

GOOD = "[{'Position': [1, 364, 98, 649], 'Confidence': 0.95}, {'Position': [10, 20, 30, 40], 'Confidence': 1}]"
BOXES = [(1.0, 364.0, 98.0, 649.0), (10.0, 20.0, 30.0, 40.0)]
PARSERS = [detection.parse, grounding.parse, classification.parse]


def answer(content: str, thought: str = "Two of them.") -> str:
    return f"<think>{thought}</think>\n<answer>{content}</answer>"


def boxes(parsed: Parsed) -> list:
    return [one.box for one in parsed.detections]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("'", '"'),
        GOOD.replace(" ", ""),
        GOOD.replace("{", "\n  {").replace(":", " : ") + "\n",
        GOOD.replace("[1, 364, 98, 649]", "[1.0, 364.00, 98., +649]"),
    ],
    ids=["as asked", "JSON", "no spaces", "many lines", "decimals"],
)
def test_a_list_as_asked_is_read_without_any_reason(content):
    parsed = detection.parse(answer(content))
    assert parsed == Parsed((Detection(BOXES[0], 0.95), Detection(BOXES[1], 1.0)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, "no_answer_tag"),
        (f"<think>x</think>{GOOD}", "no_answer_tag"),
        (f"<answer>{GOOD}", "answer_not_closed"),
        (answer(GOOD) + answer("No Objects"), "several_answers"),
        (answer(GOOD) + " [1, 2, 3, 4]</answer>", "several_answers"),
        (f"<think>x <answer>{GOOD}</answer>", "answer_in_thought"),
        (answer(f"```json\n{GOOD}\n```"), "code_fence"),
        (answer(f"[{GOOD}]"), "other_form"),
        (answer(GOOD[:-1] + ", ...]"), "ellipsis"),
        (answer(f"Here they are: {GOOD}"), "text_around"),
        (answer(f"{GOOD} No Objects"), "text_around"),
        (answer(GOOD[:-1]), "truncated"),
        (answer(GOOD[:-1] + ", {'Position': [5, 5"), "truncated"),
        (answer(GOOD.replace("Position", "bbox_2d")), "other_key"),
        (answer(GOOD.replace("Confidence", "score")), "other_key"),
        (answer(GOOD.replace("Position", "position")), "other_key"),
        (answer(GOOD.replace("0.95}", "0.95, 'label': 'cat'}")), "other_form"),
        (answer(GOOD.replace("}, {", "} {")), "other_form"),
        (answer(GOOD.replace("0.95", "'0.95'")), "other_form"),
    ],
)
def test_what_is_written_otherwise_is_still_read_and_says_why(text, reason):
    parsed = detection.parse(text)
    assert boxes(parsed) == BOXES
    assert [d.confidence for d in parsed.detections] == [0.95, 1.0]
    assert parsed.reasons == (reason,)
    assert parsed.dropped == 0


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ("[300, 300, 100, 100]", "box_inverted"),
        ("[300, 100, 100, 300]", "box_inverted"),
        ("[100, 100, 100, 300]", "box_empty"),
        ("[100, 100, 300, 1001]", "box_out_of_range"),
        ("[-1, 100, 300, 300]", "box_out_of_range"),
        (f"[0, 0, 1, {'9' * 400}]", "box_malformed"),
        ("[0, 0, 1e300, 1]", "box_out_of_range"),
        ("[NaN, 100, 300, 300]", "box_malformed"),
        ("[0, 0, Infinity, 300]", "box_malformed"),
        ("['1', 100, 300, 300]", "box_malformed"),
        ("[100, 200, 300]", "box_malformed"),
        ("[1, 2, 3, 4, 5]", "box_malformed"),
        ("[]", "box_malformed"),
        ("'left'", "no_box"),
    ],
)
def test_a_box_that_is_none_is_dropped_counted_and_named_and_the_others_stay(position, reason):
    parsed = detection.parse(answer(GOOD.replace("[1, 364, 98, 649]", position)))
    assert boxes(parsed) == BOXES[1:]
    assert parsed.reasons == (reason,)
    assert parsed.dropped == 1


@pytest.mark.parametrize(
    ("confidence", "reason"),
    [
        ("-3", "confidence_out_of_range"),
        ("50", "confidence_out_of_range"),
        ("NaN", "confidence_not_a_number"),
        ("Infinity", "confidence_not_a_number"),
        ("None", "confidence_not_a_number"),
        ("high", "confidence_not_a_number"),
    ],
)
def test_a_confidence_that_is_none_leaves_the_box_which_then_ranks_last(confidence, reason):
    parsed = detection.parse(answer(GOOD.replace("0.95", confidence)))
    assert parsed.detections[0] == Detection(BOXES[0], 0.0, stated=False)
    assert parsed.detections[1] == Detection(BOXES[1], 1.0, stated=True)
    assert parsed.reasons == (reason,)


def test_lists_without_objects_are_boxes_without_confidence():
    parsed = detection.parse(answer("[[1, 364, 98, 649], [10, 20, 30, 40]]"))
    assert boxes(parsed) == BOXES
    assert not any(d.stated for d in parsed.detections)
    assert parsed.reasons == ("confidence_missing", "bare_boxes")


def test_of_equal_boxes_the_most_confident_is_kept_whatever_the_order():
    items = [f"{{'Position': [1, 364, 98, 649], 'Confidence': {c}}}" for c in ("0.2", "0.9", "-1", "0.5")]
    for order in (items, items[::-1]):
        parsed = detection.parse(answer(f"[{', '.join(order)}]"))
        assert parsed.detections == (Detection(BOXES[0], 0.9),)
        assert parsed.dropped == 3
        assert "duplicate_box" in parsed.reasons


@pytest.mark.parametrize("content", ["No Objects", "no objects", " No Objects.\n", "'No Objects'", "[]", "[ ]"])
def test_a_rejection_is_an_answer_and_not_a_failure(content):
    assert detection.parse(answer(content)) == Parsed((), (), says_none=True)


def test_a_rejection_in_a_sentence_counts_and_is_named():
    parsed = detection.parse(answer("There are no objects of this kind."))
    assert parsed.says_none
    assert parsed.reasons == ("text_around",)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("", ("no_answer_tag", "empty_answer")),
        ("<answer></answer>", ("empty_answer",)),
        (answer("somewhere on the left"), ("unparsable",)),
        (answer("[{'Position': [1, 2, 3"), ("truncated",)),
        (f"<think>I see {GOOD}", ("thought_not_closed", "empty_answer")),
    ],
)
def test_what_says_nothing_gives_no_boxes_and_is_no_rejection(text, reasons):
    assert detection.parse(text) == Parsed((), reasons)


def test_a_thought_is_not_an_answer():
    text = f"<think>Perhaps <answer>{GOOD}</answer>?</think><answer>No Objects</answer>"
    assert detection.parse(text).says_none


def test_the_limit_of_the_frame_decides_what_is_in_range():
    text = answer("[{'Position': [100, 100, 1200, 700], 'Confidence': 1}]")
    assert detection.parse(text).reasons == ("box_out_of_range",)
    assert boxes(detection.parse(text, (1280, 720))) == [(100.0, 100.0, 1200.0, 700.0)]
    assert detection.parse(text, (1280, 699)).dropped == 1


def test_more_boxes_than_anyone_asks_for_are_not_read():
    items = [f"{{'Position': [0, 0, {x % 1000 + 1}, {x // 1000 + 1}], 'Confidence': 1}}" for x in range(1500)]
    parsed = detection.parse(answer(f"[{', '.join(items)}]"))
    assert len(parsed.detections) == MAX_BOXES
    assert "too_long" in parsed.reasons


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        ("(1,364),(98,649)", ()),
        (" ( 1 , 364 ) , (98.0,649)\n", ()),
        ("[1, 364, 98, 649]", ("other_form",)),
        ("[[1, 364], [98, 649]]", ("other_form",)),
        ('```json\n[{"bbox_2d": [1, 364, 98, 649], "label": "cat"}]\n```', ("other_form",)),
        ("{'Position': [1, 364, 98, 649], 'Confidence': 1}", ("other_form",)),
        ("It is (1,364),(98,649).", ("other_form",)),
        ("(9,9),(1,1),(1,364),(98,649)", ("box_inverted", "other_form")),
        ("(1,364),(98,649) or (1,1),(9,9)", ("other_form", "several_boxes")),
    ],
)
def test_a_grounding_answer_is_one_box(content, reasons):
    parsed = grounding.parse(answer(content))
    assert boxes(parsed) == BOXES[:1]
    assert parsed.reasons == reasons
    assert parsed.dropped == (len(content) > 26 and "or" in content) + ("box_inverted" in reasons)


@pytest.mark.parametrize(
    "content", ["(300,300),(100,100)", "(nan,1),(2,3)", "(1,1),(1,5)", "(0,0),(2000,10)", "left", ""]
)
def test_a_grounding_answer_without_a_usable_box_is_empty_and_named(content):
    parsed = grounding.parse(answer(content))
    assert not parsed.detections
    assert parsed.reasons


def test_a_class_name_is_what_stands_in_the_answer():
    assert classification.parse(answer("  737-200\n")).name == "737-200"
    assert classification.parse(answer("2012 Audi\n R8  Coupe")).name == "2012 Audi R8 Coupe"
    assert classification.parse("A330").reasons == ("no_answer_tag",)
    assert classification.parse(answer("")).reasons == ("empty_answer",)
    assert classification.parse(answer("a" * 300)) == classification.Named("", ("too_long",))


@pytest.mark.parametrize(
    ("text", "with_thought", "without"),
    [
        ("<think>a</think><answer>b</answer>", True, False),
        ("<think></think> \n <answer></answer>", True, False),
        ("<think>a</think>b</think><answer>c</answer><answer>d</answer>", True, False),
        ("<think>a</think>b<answer>c</answer>", False, False),
        ("<think>a</think><answer>b</answer> ", False, False),
        ("<think>a</think><answer></answer", False, False),
        ("<think><answer></answer>", False, False),
        ("<answer>b</answer>", False, True),
        ("<answer></answer>", False, True),
        ("<answer>", False, False),
    ],
)
def test_the_form_of_a_completion(text, with_thought, without):
    assert has_form(text) is with_thought
    assert has_form(text, thinking=False) is without


TAGS = ["<think>", "</think>", "<answer>", "</answer>", " ", "\n", "x", "[]"]


@given(st.lists(st.sampled_from(TAGS), max_size=12).map("".join))
def test_the_form_is_what_the_published_expression_matches(text):
    assert has_form(text) is bool(re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", text, re.DOTALL))


def is_sound(parsed, limit=(1000, 1000)) -> bool:
    """What the parsers promise of any text."""
    if isinstance(parsed, classification.Named):
        return len(parsed.name) <= classification.MAX_NAME
    return (
        len(parsed.detections) <= MAX_BOXES
        and len(set(parsed.reasons)) == len(parsed.reasons)
        and parsed.dropped >= 0
        and not (parsed.says_none and (parsed.detections or parsed.dropped))
        and all(
            all(map(math.isfinite, d.box))
            and 0 <= d.box[0] < d.box[2] <= limit[0]
            and 0 <= d.box[1] < d.box[3] <= limit[1]
            and 0 <= d.confidence <= 1
            for d in parsed.detections
        )
        and len({d.box for d in parsed.detections}) == len(parsed.detections)
    )


@given(st.text())
def test_any_text_is_parsed_to_something_sound(text):
    for parse in PARSERS:
        assert is_sound(parse(text))
        assert is_sound(parse(answer(text)))


PIECES = [
    *TAGS,
    *"{}[]()'\",:.-+eE0123456789",
    *["Position", "Confidence", "bbox", "No Objects", "NaN", "1e999", "...", "```json", "{'Position': [1, 2, 30, 40]"],
    *["'Confidence': 0.5}", GOOD, "[1, 2, 3, 4]", "(1,2),(3,4)", "\x00", "٣", "－1"],
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_answers_taken_apart_and_put_together_are_parsed_to_something_sound(text):
    for parse in PARSERS:
        assert is_sound(parse(text))
        assert is_sound(parse(answer(text)))


def test_bytes_flipped_cut_and_repeated_are_parsed_to_something_sound():
    rng = random.Random(0)
    seeds = [answer(GOOD), answer("(1,364),(98,649)"), GOOD.replace("'", '"'), answer("No Objects")]
    for _ in range(6000):
        data = bytearray(rng.choice(seeds).encode())
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(4):
                case 0:
                    data[at:at] = rng.randbytes(rng.randrange(1, 5))
                case 1:
                    del data[at : at + rng.randrange(12)]
                case 2:
                    data[at:at] = data[at : at + rng.randrange(40)] * rng.randrange(4)
                case 3 if at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
        text = data.decode(errors="replace")
        for parse in PARSERS:
            assert is_sound(parse(text)), text


NUMBERS = ["0", "7", "250", "1000", "1001", "-1", "+30", "007", "12.5", "3.", ".5", "1e2", "0.95", "2"]
NEARLY_NUMBERS = ["", "1 2", "1.2.3", "+-5", "9" * 19, " 8\u3000", "\x1c8", "\n"]
SPELLED = st.sampled_from(NUMBERS + NEARLY_NUMBERS)


@given(st.lists(st.lists(SPELLED, min_size=5, max_size=5), min_size=1, max_size=3), st.sampled_from([", ", ",\n", " "]))
def test_an_answer_written_as_asked_means_the_same_to_the_reader_of_all_others(items, between):
    listed = [f"{{'Position': [{', '.join(box)}], 'Confidence': {confidence}}}" for *box, confidence in items]
    text = answer(f"[{between.join(listed)}]")
    read = detection.parse(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "_as_asked", lambda *_: None)
        slow = detection.parse(text)
    assert (read.detections, read.dropped, read.says_none) == (slow.detections, slow.dropped, slow.says_none)
    assert set(read.reasons) ^ set(slow.reasons) <= {"other_form"}


def _bench():
    path = Path(__file__).parents[1] / "bench" / "rewards.py"
    spec = importlib.util.spec_from_file_location("bench_rewards", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "text"), _bench().hostile().items())
def test_a_hostile_megabyte_takes_at_most_fifty_milliseconds(name, text):
    for parse in PARSERS:
        best = math.inf
        for _ in range(3):
            start = time.process_time()
            assert is_sound(parse(text))
            best = min(best, time.process_time() - start)
        assert best <= 0.05, f"{name}: {best * 1000:.0f} ms in {parse.__module__}"
