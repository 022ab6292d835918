"""What the rewards pay for, what they never pay for, and that the published ones are reproduced with their faults."""

import itertools
import math
from importlib import import_module

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vrft_core.errors import InputError
from vrft_core.tasks import published
from vrft_core.tasks.box_answers import Detection
from vrft_core.tasks.classification import rewards as classification
from vrft_core.tasks.detection import answers
from vrft_core.tasks.detection import rewards as detection
from vrft_core.tasks.detection.rewards.boxes import match
from vrft_core.tasks.grounding import rewards as grounding

TRUE = [100, 101, 300, 300]
FAR = [600, 602, 800, 801]
STRICT_DETECTION = ["iou", "iou_dense", "iou@0.3", "average_precision", "confidence", "confidence_brier", "format"]
NEVER_PAY = ["iou", "iou_dense", "iou@0.3", "average_precision", "confidence"]


def completion(items, thought="x") -> str:
    """(box, confidence) pairs as the prompt asks for them."""
    listed = ", ".join(f"{{'Position': {list(box)}, 'Confidence': {confidence}}}" for box, confidence in items)
    return f"<think>{thought}</think> <answer>[{listed}]</answer>"


def said(text: str) -> str:
    return f"<think>x</think> <answer>{text}</answer>"


def score(task, name, text, truth, **reading):
    """What the task's reward pays for a completion."""
    return task.get(name)(task.read(text, **reading), truth)


def pay(name, items, truth=(TRUE,)):
    return score(detection, name, items if isinstance(items, str) else completion(items), list(truth))


def total(items, truth) -> float:
    return sum(pay(name, items, truth) for name in detection.SETS["strict"].values())


# --- the published rewards -------------------------------------------------------------------------------------------

NEAR = [100, 100, 300, 300]  # IoU 0.995 with TRUE
LOW = [100, 100, 200, 300]  # IoU 0.4987
OFF = [500, 500, 600, 600]
JUNK = [([x, 500, x + 9, 600], 0.0) for x in range(400, 500)]
NEAR_DUPLICATES = [([100, 100, 300, y], 0.9) for y in range(300, 305)]

# visual-rft.md's table of the published functions, executed: answer, truth, IoU reward, confidence reward, format
PUBLISHED = {
    "right box": (completion([(NEAR, 0.9)]), [TRUE], 0.995, 0.90, 1),
    "IoU 0.5 or less": (completion([(LOW, 0.9)]), [TRUE], 0, 0.10, 1),
    "wrong box, confidence 0": (completion([(OFF, 0.0)]), [TRUE], 0, 1.0, 1),
    "wrong box with the true y1": (completion([([500, 101, 600, 600], 0.9)]), [TRUE], 1.0, 1.0, 1),
    "one of two": (completion([(NEAR, 0.9)]), [TRUE, FAR], 0.4975, 0.90, 1),
    "one of two with the true y1": (completion([(TRUE, 0.9)]), [TRUE, FAR], 1.0, 1.0, 1),
    "two of two and a wrong one": (
        completion([(NEAR, 0.9), ([600, 601, 800, 801], 0.9), (OFF, 0.2)]),
        [TRUE, FAR],
        0.6633,
        0.8667,
        1,
    ),
    "5 near duplicates": (completion(NEAR_DUPLICATES), [TRUE], 0.199, 0.26, 1),
    "5 exact duplicates": (completion([(NEAR, 0.9)] * 5), [TRUE], 0.995, 0.90, 1),
    "100 junk boxes, confidence 0": (completion(JUNK), [TRUE], 0, 1.0, 1),
    "[] on a positive": (said("[]"), [TRUE], 0, 0, 1),
    "No Objects on a positive": (said("No Objects"), [TRUE], 0, 0, 1),
    "No Objects on a negative": (said("No Objects"), [], 0, 0, 1),
    "[] on a negative": (said("[]"), [], 0, 0, 1),
    "boxes on a negative": (completion([(NEAR, 0.9)]), [], 0, 0, 1),
    "confidence NaN": (completion([(NEAR, "NaN")]), [TRUE], 0.995, math.nan, 1),
    "confidence 50": (completion([(NEAR, 50)]), [TRUE], 0.995, 1.0, 1),
    "confidence -3, wrong box": (completion([(OFF, -3)]), [TRUE], 0, 1.0, 1),
    "confidence as string": (completion([(NEAR, "'0.9'")]), [TRUE], 0, 0, 1),
    "confidence missing": (said(f"[{{'Position': {NEAR}}}]"), [TRUE], 0, 0, 1),
    "key position": (completion([(NEAR, 0.9)]).replace("Position", "position"), [TRUE], 0, 0, 1),
    "list over many lines": (completion([(NEAR, 0.9)]).replace("{", "\n{"), [TRUE], 0, 0, 1),
    "list ends with ', ...'": (completion([(NEAR, 0.9)]).replace("}]", "}, ...]"), [TRUE], 0, 0, 1),
    "inverted box": (completion([([300, 300, 100, 100], 0.9)]), [TRUE], 0, 0.10, 1),
    "list without tags": (f"[{{'Position': {NEAR}, 'Confidence': 0.9}}]", [TRUE], 0.995, 0.90, 0),
    "text after the answer": (completion([(NEAR, 0.9)]) + " done", [TRUE], 0.995, 0.90, 0),
    "empty thought": (completion([(NEAR, 0.9)], thought=""), [TRUE], 0.995, 0.90, 1),
    "doubled brackets": (said(f"[[{{'Position': {NEAR}, 'Confidence': 0.9}}]]"), [TRUE], 0.995, 0.90, 1),
    "cut within the second box": (
        said(f"[{{'Position': {NEAR}, 'Confidence': 0.9}}, {{'Position': [1"),
        [TRUE],
        0.995,
        0.90,
        1,
    ),
}


@pytest.mark.parametrize(("text", "truth", "iou", "confidence", "form"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_detection_rewards_are_those_of_the_published_code(text, truth, iou, confidence, form):
    assert pay("published/iou", text, truth) == pytest.approx(iou, abs=6e-4)
    assert pay("published/confidence", text, truth) == pytest.approx(confidence, abs=6e-4, nan_ok=True)
    assert pay("published/format", text, truth) == form


def test_the_published_iou_reward_is_exact_to_the_bit():
    text = completion([([103, 99, 301, 299], 0.31), ([598, 600, 800, 803], 0.77), (OFF, 0.5)])
    first, second = 197 * 198 / (200 * 199 + 198 * 200 - 197 * 198), 200 * 199 / (200 * 199 + 202 * 203 - 200 * 199)
    assert pay("published/iou", text, [TRUE, FAR]) == (second + first) / 3
    assert pay("published/confidence", text, [TRUE, FAR]) == (0.77 + (1 - 0.5) + 0.31) / 3


@pytest.mark.parametrize(
    ("name", "truth", "reward"),
    [
        ("", "737-200", 1.0),
        ("a", "A330-200", 1.0),
        ("7", "737-200", 1.0),
        ("dog", "hot dog", 1.0),
        ("A330", "A330-200", 1.0),
        ("A330-300", "A330-200", 0.0),
        ("A319, A330-200, 737-200", "A330-200", 1.0),
        ("Audi", "2012 Audi R8 Coupe", 1.0),
        ("2012", "2012 Audi R8 Coupe", 1.0),
        ("Audi R8 Coupe 2012", "2012 Audi R8 Coupe", 0.0),
        ("BAE 146-300", "BAE 146-200", 1.0),
        ("cat", "dog", 0.0),
        ("\ndog\n", "dog", 1.0),
    ],
)
def test_published_classification_takes_any_substring_and_one_equal_number(name, truth, reward):
    assert score(classification, "published/accuracy", said(name), [truth]) == reward


@pytest.mark.parametrize(
    ("box", "reward"),
    [
        ("(100,100),(300,300)", 2.0),
        ("(300,300),(100,100)", 2.0),
        ("(200,200),(200,200)", 1.0),
        ("(700,700),(900,900)", 1 - (0.64 - 0.08) / 0.64),
        ("(100,100),(300,200)", 1.5),
        ("[100, 99, 300, 300]", 0.0),
        ("(100.5,100),(300,300)", 0.0),
        ("nothing", 0.0),
        ("(100,100),(7,7),(300,300),(8,8)", 2.0),
    ],
)
def test_published_grounding_is_giou_plus_one_of_the_first_two_points(box, reward):
    value = score(grounding, "published/giou", said(box), (100, 100, 300, 300))
    assert value == pytest.approx(reward, abs=1e-9)


def test_published_grounding_is_not_bounded():
    assert score(grounding, "published/giou", said("(1000,1000),(0,0)"), (100, 100, 300, 300)) > 20


@given(st.text())
def test_published_rewards_survive_any_text(text):
    for task, truth in ((detection, [TRUE]), (classification, "dog"), (grounding, TRUE)):
        for name in task.SETS["published"].values():
            assert isinstance(score(task, name, said(text), truth), float)


# --- the same answers under the strict rewards -----------------------------------------------------------------------


def test_a_right_answer_earns_its_overlap_its_confidence_and_its_form():
    assert pay("iou", [(NEAR, 0.9)]) == pytest.approx(0.995)
    assert pay("confidence", [(NEAR, 0.9)]) == pytest.approx(0.9)
    assert pay("format", [(NEAR, 0.9)]) == 1.0
    assert pay("average_precision", [(NEAR, 0.9)]) == 1.0


@pytest.mark.parametrize(
    "case",
    [
        "wrong box, confidence 0",
        "wrong box with the true y1",
        "100 junk boxes, confidence 0",
        "confidence -3, wrong box",
        "inverted box",
        "[] on a positive",
        "No Objects on a positive",
        "boxes on a negative",
    ],
)
def test_what_finds_nothing_earns_neither_overlap_nor_confidence(case):
    text, truth, *_ = PUBLISHED[case]
    assert pay("iou", text, truth) == pay("confidence", text, truth) == 0.0
    assert pay("average_precision", text, truth) == 0.0


@pytest.mark.parametrize("stated", ["NaN", "50", "-3", "'high'", "None"])
def test_an_unusable_confidence_earns_nothing_and_spoils_the_form_but_not_the_box(stated):
    text = completion([(NEAR, stated)])
    assert pay("iou", text) == pytest.approx(0.995)
    assert pay("confidence", text) == pay("format", text) == 0.0


def test_repeated_and_unusable_boxes_count_as_predicted():
    for name in ("iou", "average_precision"):
        one = pay(name, [(NEAR, 0.9)])
        assert pay(name, [(NEAR, 0.9)] * 5) == pytest.approx(one / 5)
        assert pay(name, [(NEAR, 0.9), ([9, 9, 1, 1], 0.1)]) == pytest.approx(one / 2)


@pytest.mark.parametrize("name", ["iou", "confidence", "average_precision", "confidence_brier"])
def test_a_missed_object_costs(name):
    assert pay(name, [(TRUE, 0.9)], [TRUE, FAR]) < pay(name, [(TRUE, 0.9), (FAR, 0.9)], [TRUE, FAR])
    assert pay(name, [(TRUE, 0.9)], [TRUE, FAR]) < pay(name, [(TRUE, 0.9)], [TRUE])


def test_many_lines_are_no_fault():
    assert total(completion([(NEAR, 0.9)]).replace("{", "\n{"), [TRUE]) == total([(NEAR, 0.9)], [TRUE])


@pytest.mark.parametrize("name", ["iou", "confidence", "average_precision", "confidence_brier"])
@pytest.mark.parametrize("text", ["No Objects", "[]"])
def test_on_a_negative_the_right_rejection_earns_all_and_anything_else_nothing(name, text):
    assert pay(name, said(text), []) == 1.0
    for wrong in (completion([(NEAR, 0.0)]), completion([([9, 9, 1, 1], 0.5)]), said("hm"), said(""), ""):
        assert pay(name, wrong, []) == 0.0


def test_the_gate_decides_from_which_overlap_on_a_box_earns():
    third = [100, 101, 167, 300]  # IoU 67/200
    assert pay("iou", [(third, 0.9)]) == 0.0
    assert pay("iou@0.3", [(third, 0.9)]) == pay("iou_dense", [(third, 0.9)]) == pytest.approx(67 / 200)
    half = [100, 101, 200, 300]
    assert pay("iou", [(half, 0.9)]) == 0.0  # the published gate is strict
    assert pay("iou@0.499", [(half, 0.9)]) == pytest.approx(0.5)


def test_average_precision_ranks_by_confidence_and_charges_a_false_positive_ranked_last():
    perfect = pay("average_precision", [(TRUE, 0.9)])
    last = pay("average_precision", [(TRUE, 0.9), (OFF, 0.1)])
    first = pay("average_precision", [(TRUE, 0.1), (OFF, 0.9)])
    assert perfect == 1.0
    assert last == pytest.approx(1 / 2)
    assert first == pytest.approx(1 / 2 / 2)
    assert pay("average_precision", [([100, 101, 300, 247], 0.9)]) == pytest.approx((5 + 5 * 0) / 10)  # IoU 0.73


def test_under_the_brier_rule_the_best_confidence_is_the_chance_of_being_right():
    for percent in (10, 30, 50, 80, 100):
        chance = percent / 100

        def expected(stated, chance=chance):
            right, wrong = pay("confidence_brier", [(TRUE, stated)]), pay("confidence_brier", [(OFF, stated)])
            return chance * right + (1 - chance) * wrong

        assert max((c / 100 for c in range(101)), key=expected) == chance


def test_under_the_linear_rule_only_certainty_pays_best():
    def expected(stated):
        return 0.6 * pay("confidence", [(TRUE, stated)]) + 0.4 * pay("confidence", [(OFF, stated)])

    assert max((c / 100 for c in range(101)), key=expected) == 1.0


def test_the_form_includes_an_answer_that_needs_no_repair():
    good = completion([(NEAR, 0.9)])
    assert pay("format", good) == pay("format", said("No Objects")) == 1.0
    for bad in (
        said(""),
        said("hm"),
        good + ".",
        good.replace("}]", "}, ...]"),
        good[:-9],
        good.replace("300]", "90]"),
        good + " and more</answer>",
    ):
        assert pay("format", bad) == 0.0
    without = good.partition("</think> ")[2]
    assert score(detection, "format", without, [TRUE]) == 0.0
    assert score(detection, "format", without, [TRUE], thinking=False) == 1.0
    assert score(detection, "format", good, [TRUE], thinking=False) == 0.0


@pytest.mark.parametrize(
    "name", ["hot dog", "Hot_Dog", "hot-dog.", " HOT   DOG ", "a hot dog", '"hot dog"', "frankfurter"]
)
def test_a_class_is_known_by_its_names_however_they_are_spelled(name):
    assert score(classification, "accuracy", said(name), ["hot dog", "frankfurter"]) == 1.0


@pytest.mark.parametrize("name", ["", " ", ".", "dog", "hot", "a", "hot dog, cat", "hotdog stand", "not a hot dog"])
def test_nothing_but_the_name_is_the_class(name):
    assert score(classification, "accuracy", said(name), "hot dog") == 0.0
    assert score(classification, "accuracy", said("737-300"), "737-200") == 0.0


@pytest.mark.parametrize(
    ("box", "iou", "giou"),
    [
        ("(100,100),(300,300)", 1.0, 1.0),
        ("(100,100),(300,200)", 0.5, 0.75),
        ("(700,700),(900,900)", 0.0, (1 - (0.64 - 0.08) / 0.64) / 2),
        ("(300,300),(100,100)", 0.0, 0.0),
        ("(1000,1000),(0,0)", 0.0, 0.0),
        ("(200,200),(200,200)", 0.0, 0.0),
        ("(100,100),(300,300),(1,1),(2,2)", 0.5, 0.5),
        ("(100,100),(300,300),(5,5),(2,2)", 0.5, 0.5),
        ("[100, 100, 300, 300]", 1.0, 1.0),
    ],
)
def test_grounding_pays_for_one_valid_box(box, iou, giou):
    truth = (100, 100, 300, 300)
    assert score(grounding, "iou", said(box), truth) == pytest.approx(iou)
    assert score(grounding, "giou", said(box), truth) == pytest.approx(giou)


# --- properties ------------------------------------------------------------------------------------------------------

COORDINATE = st.integers(0, 1000)


@st.composite
def some_box(draw, left=0, right=1000):
    x1, x2 = sorted(draw(st.lists(st.integers(left, right), min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(draw(st.lists(COORDINATE, min_size=2, max_size=2, unique=True)))
    return (x1, y1, x2, y2)


def jittered(box):
    """A box that overlaps `box` more or less well."""

    def shifted(by):
        x1, y1, x2, y2 = (min(1000, max(0, v + d)) for v, d in zip(box, by, strict=True))
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else tuple(box)

    return st.lists(st.integers(-80, 80), min_size=4, max_size=4).map(shifted)


@st.composite
def scene(draw, right=1000):
    """True boxes, and predictions with distinct confidences, most of them near a true box."""
    truth = draw(st.lists(some_box(0, right), min_size=1, max_size=5, unique=True))
    near = st.sampled_from(truth).flatmap(jittered).filter(lambda box: box[2] <= right)
    predicted = draw(st.lists(st.one_of(near, some_box(0, right)), max_size=6, unique=True))
    stated = draw(
        st.lists(st.integers(0, 100), min_size=len(predicted), max_size=len(predicted), unique=True),
    )
    return truth, [(box, c / 100) for box, c in zip(predicted, stated, strict=True)]


@st.composite
def apart(draw):
    """True boxes that do not touch, some predicted more or less well; the others are the missed ones."""
    cells = draw(st.lists(st.integers(0, 8), min_size=1, max_size=6, unique=True))
    truth = [(333 * (c % 3) + 90, 333 * (c // 3) + 90, 333 * (c % 3) + 240, 333 * (c // 3) + 240) for c in cells]
    near = st.sampled_from(truth).flatmap(jittered)
    predicted = draw(st.lists(near, max_size=6, unique=True))
    return truth, [(box, draw(st.integers(0, 100)) / 100) for box in predicted]


@given(st.text(), st.sampled_from([[], [TRUE], [TRUE, FAR]]))
def test_every_strict_reward_of_any_text_lies_between_0_and_1(text, truth):
    for body in (text, said(text), completion([(NEAR, text)])):
        for name in STRICT_DETECTION:
            assert 0.0 <= pay(name, body, truth) <= 1.0
        assert 0.0 <= score(classification, "accuracy", body, "dog") <= 1.0
        for name in ("iou", "giou", "format"):
            assert 0.0 <= score(grounding, name, body, TRUE) <= 1.0


@pytest.mark.parametrize("truth", [[TRUE], [(0, 0, 1000, 1000)] * 2, [(5, 5, 5, 9)]])
@pytest.mark.parametrize(
    "box", ["0, 0, 1e-300, 1e-300", "150, 150, 150.00000000000001, 150.00000000000001", "0, 0, 9, 9"]
)
def test_what_has_next_to_no_area_is_rewarded_as_nothing(box, truth):
    for name in ("iou", "iou_dense", "average_precision", "confidence"):
        assert pay(name, said(f"[{{'Position': [{box}], 'Confidence': 0.5}}]"), truth) == pytest.approx(0.0, abs=1e-4)


@given(scene())
def test_every_strict_reward_of_any_answer_lies_between_0_and_1(drawn):
    truth, items = drawn
    for name in STRICT_DETECTION:
        assert 0.0 <= pay(name, items, truth) <= 1.0


@given(scene(), st.randoms(use_true_random=False))
def test_the_order_of_predictions_and_of_the_truth_does_not_matter(drawn, rng):
    truth, items = drawn
    shuffled, truth_shuffled = list(items), list(truth)
    rng.shuffle(shuffled)
    rng.shuffle(truth_shuffled)
    for name in STRICT_DETECTION:
        assert pay(name, items, truth) == pay(name, shuffled, truth_shuffled)


@given(scene(), st.randoms(use_true_random=False))
def test_the_order_of_predictions_stated_equally_sure_does_not_matter_either(drawn, rng):
    truth, items = drawn
    items = [(box, round(confidence)) for box, confidence in items]
    shuffled = rng.sample(items, len(items))
    for name in STRICT_DETECTION:
        assert pay(name, items, truth) == pay(name, shuffled, truth)


@given(some_box(), st.lists(st.integers(0, 1000), min_size=2, max_size=2), st.integers(0, 100))
def test_a_better_fitting_box_never_earns_less(truth, shifts, stated):
    x1, y1, x2, y2 = truth
    small, large = sorted(shifts)
    better, worse = ((min(x1 + shift, 999), y1, min(x2 + shift, 1000), y2) for shift in (small, large))
    for name in STRICT_DETECTION:
        assert pay(name, [(better, stated / 100)], [truth]) >= pay(name, [(worse, stated / 100)], [truth])
    for name in ("iou", "giou"):
        texts = (said("({},{}),({},{})".format(*box)) for box in (better, worse))
        good, bad = (score(grounding, name, text, truth) for text in texts)
        assert good >= bad or x2 + large > 1000  # past the border the worse box is a narrower one


@given(scene(right=500), some_box(501, 1000), st.integers(0, 100))
def test_a_false_positive_never_raises_what_an_answer_earns(drawn, false, stated):
    truth, items = drawn
    more = [*items, (false, stated / 100)]
    for name in NEVER_PAY:
        assert pay(name, more, truth) <= pay(name, items, truth)
    if items:  # the proper rule prefers an unsure wrong box to a wrong 'No Objects'
        assert pay("confidence_brier", more, truth) <= pay("confidence_brier", items, truth)
    assert total(more, truth) <= total(items, truth) if items else True
    assert total(more, truth) <= total(said("No Objects"), truth) if not items else True


def test_a_false_positive_lowers_the_reward_once_all_is_found():
    for name in ("iou", "iou_dense", "average_precision"):
        assert pay(name, [(TRUE, 0.9), (OFF, 0.0)]) < pay(name, [(TRUE, 0.9)])
    assert pay("confidence", [(TRUE, 0.9), (OFF, 0.5)]) < pay("confidence", [(TRUE, 0.9)])


@given(apart(), st.integers(0, 100))
def test_finding_a_missed_object_never_lowers_what_an_answer_earns(drawn, stated):
    truth, items = drawn
    parsed = answers.parse(completion(items))
    taken = {box for box in truth for o, d in match(parsed.detections, [box], 0.0) if o}
    missed = [box for box in truth if box not in taken]
    assume(missed)
    more = [*items, (missed[0], stated / 100)]
    for name in [*NEVER_PAY, "confidence_brier"]:
        assert pay(name, more, truth) >= pay(name, items, truth) - 1e-12


@given(scene(), st.integers(0, 100), st.data())
def test_saying_a_box_twice_never_raises_what_an_answer_earns(drawn, stated, data):
    truth, items = drawn
    assume(items)
    box, confidence = data.draw(st.sampled_from(items))
    more = [*items, (box, min(stated / 100, confidence))]
    for name in STRICT_DETECTION:
        assert pay(name, more, truth) <= pay(name, items, truth)


@given(scene())
def test_a_correct_rejection_beats_any_hallucination(drawn):
    _, items = drawn
    assume(items)
    for name in [*NEVER_PAY, "confidence_brier"]:
        assert pay(name, said("No Objects"), []) > pay(name, items, [])


@given(st.lists(some_box(), min_size=9, max_size=30, unique=True), st.lists(some_box(), max_size=20, unique=True))
def test_leaving_out_true_boxes_out_of_reach_changes_no_match(truth, predicted):
    detections = [Detection(box, 0.5) for box in itertools.chain(predicted, truth[::3])]
    for gate in (0.05, 0.5):
        pairs = match(detections, truth, gate)
        expected, free = [], sorted(truth)
        for d in sorted(detections):  # all equally sure
            best = max(free, key=lambda box: (_plain_iou(d.box, box), [-v for v in box]), default=None)
            if best is not None and _plain_iou(d.box, best) > gate:
                free.remove(best)
                expected.append(_plain_iou(d.box, best))
            else:
                expected.append(0.0)
        assert [overlap for overlap, _ in pairs] == expected


def _plain_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = width * height if width > 0 and height > 0 else 0.0
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


# --- the ranking over a group ----------------------------------------------------------------------------------------


def ranked(answers_of_group, truth=(TRUE,)) -> list[float | None]:
    """The reward `ranking` of each answer, which are (box, confidence) pairs or texts, as one group."""
    texts = [items if isinstance(items, str) else completion(items) for items in answers_of_group]
    group = [detection.read(text) for text in texts]
    for one in group:
        one.group = group
    return [detection.get("ranking")(one, list(truth)) for one in group]


GOOD_FIT, FAIR_FIT = [100, 101, 300, 290], [100, 101, 300, 240]  # IoU 0.95 and 0.70 with TRUE


def test_an_answer_earns_how_often_its_boxes_stand_right_among_those_of_the_other_answers():
    assert ranked([[(GOOD_FIT, 0.9)], [(FAIR_FIT, 0.5)], [(OFF, 0.1)]]) == [1.0, 1.0, 0.0]
    assert ranked([[(GOOD_FIT, 0.1)], [(FAIR_FIT, 0.5)], [(OFF, 0.9)]]) == [0.0, 0.0, 0.0]
    assert ranked([[(GOOD_FIT, 0.5)], [(FAIR_FIT, 0.9)], [(OFF, 0.1)]]) == [0.5, 0.5, 0.0]


def test_all_the_same_confidence_earns_half_of_what_the_right_order_earns():
    assert ranked([[(GOOD_FIT, 1.0)], [(FAIR_FIT, 1.0)], [(OFF, 1.0)]]) == [0.5, 0.5, 0.0]


def test_a_wrong_box_costs_what_it_outranks():
    found = [[(FAIR_FIT, 0.5)], [(FAIR_FIT, 0.7)], [(OFF, 0.2)]]
    assert ranked([[(GOOD_FIT, 0.9), (FAR, 0.1)], *found])[0] == 1.0
    assert ranked([[(GOOD_FIT, 0.9), (FAR, 0.6)], *found])[0] == 0.5
    assert ranked([[(GOOD_FIT, 0.9), (FAR, "high")], *found])[0] == 0.0
    assert ranked([[(GOOD_FIT, "high")], *found])[0] == 0.0


def test_a_missed_object_earns_no_rank():
    both = [(TRUE, 0.9), (FAR, 0.8)]
    assert ranked([[(TRUE, 0.9)], both, [(OFF, 0.1)]], [TRUE, FAR]) == [0.5, 1.0, 0.0]


@pytest.mark.parametrize(
    "group", [[[(TRUE, 0.9)]], [[(TRUE, 0.9)]] * 3, [[(OFF, 0.9)], [(FAR, 0.2)]], [[(TRUE, 1)], ""]]
)
def test_where_nothing_can_be_compared_the_ranking_does_not_apply(group):
    assert ranked(group)[0] is None


def test_without_its_group_an_answer_has_no_rank():
    assert pay("ranking", [(TRUE, 0.9), (OFF, 0.1)]) is None


def test_an_answer_without_boxes_has_the_lowest_rank_unless_there_is_nothing_to_find():
    assert ranked(["No Objects", [(TRUE, 0.9)], [(OFF, 0.1)]])[0] == 0.0
    assert ranked([said("No Objects"), [(TRUE, 0.9)], said("hm")], truth=[]) == [1.0, 0.0, 0.0]


def test_the_better_fitting_box_earns_less_if_its_confidence_does_not_go_with_it():
    others = [[(FAIR_FIT, 0.8)], [(OFF, 0.1)]]
    assert ranked([[(LOW, 0.5)], *others])[0] == 0.0  # wrong
    assert ranked([[([100, 101, 300, 220], 0.5)], *others])[0] == 1.0  # IoU 0.60, rightly below 0.8
    assert ranked([[(GOOD_FIT, 0.5)], *others])[0] == 0.5


@st.composite
def group_of_answers(draw, right=1000):
    """True boxes, and four answers to the same question."""
    truth, first = draw(scene(right))
    stated = st.integers(0, 4).map(lambda c: c / 4)
    near = st.sampled_from(truth).flatmap(jittered).filter(lambda box: box[2] <= right)
    answer = st.lists(st.tuples(st.one_of(near, some_box(0, right)), stated), max_size=4)
    return truth, [first, *(draw(answer) for _ in range(3))]


@settings(max_examples=50)
@given(group_of_answers(), st.randoms(use_true_random=False))
def test_ranks_lie_between_0_and_1_and_no_order_matters(drawn, rng):
    truth, group = drawn
    earned = ranked(group, truth)
    assert all(value is None or 0.0 <= value <= 1.0 for value in earned)
    order = rng.sample(range(4), 4)
    shuffled = ranked([rng.sample(group[at], len(group[at])) for at in order], rng.sample(truth, len(truth)))
    assert [earned[at] for at in order] == pytest.approx(shuffled)


@settings(max_examples=50)
@given(group_of_answers(right=500), some_box(501, 1000), st.integers(0, 4))
def test_a_false_positive_never_raises_the_rank_of_its_own_answer(drawn, false, stated):
    truth, (mine, *others) = drawn
    with_it = ranked([[*mine, (false, stated / 4)], *others], truth)[0]
    assert (with_it or 0.0) <= (ranked([mine, *others], truth)[0] or 0.0)


@settings(max_examples=50)
@given(group_of_answers(), st.integers(0, 4), st.data())
def test_saying_a_box_twice_never_raises_the_rank(drawn, stated, data):
    truth, (mine, *others) = drawn
    assume(mine)
    box, confidence = data.draw(st.sampled_from(mine))
    twice = ranked([[*mine, (box, min(stated / 4, confidence))], *others], truth)[0]
    assert twice == ranked([mine, *others], truth)[0]


@settings(max_examples=50)
@given(apart(), st.lists(st.tuples(some_box(), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=4), st.data())
def test_finding_a_missed_object_never_lowers_the_rank(drawn, other, data):
    truth, mine = drawn
    others = [other, [(box, 0.5) for box in truth]]
    found = detection.read(completion(mine)).parsed.detections
    missed = [box for box in truth if not any(overlap for overlap, _ in match(found, [box], 0.0))]
    assume(missed)
    more = [*mine, (missed[0], data.draw(st.sampled_from([0.0, 0.5, 1.0])))]
    assert (ranked([more, *others], truth)[0] or 0.0) >= (ranked([mine, *others], truth)[0] or 0.0) - 1e-12


# --- the registry ----------------------------------------------------------------------------------------------------


def test_training_and_evaluation_read_answers_with_the_same_function():
    for name, rewards in (("detection", detection), ("classification", classification), ("grounding", grounding)):
        assert rewards.parse is import_module(f"vrft_core.tasks.{name}.answers").parse


def test_an_unknown_reward_is_refused_by_name():
    for name in ("iuo", "iou@", "iou@1.5", "iou@high", "iou@nan", "confidence@0.5", "published/iou@0.5"):
        with pytest.raises(InputError, match="known: average_precision, confidence"):
            detection.get(name)


def test_published_solutions_are_written_as_in_the_published_data():
    assert published.detection_solution([(1.0, 364.0, 98.0, 649.0)]) == (
        "<answer>[{'Position': [1, 364, 98, 649], 'Confidence': 1}]</answer>"
    )
    assert published.detection_solution([]) == "<answer>No Objects</answer>"
    assert published.grounding_solution((1, 2, 3, 4)) == "<answer>(1,2),(3,4)</answer>"
