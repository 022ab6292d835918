"""What holds of every strict reward, whatever is answered."""

import itertools

import pytest
from drawn_answers import apart, scene, some_box
from hypothesis import assume, given
from hypothesis import strategies as st
from rewarded import FAR, NEAR, NEVER_PAY, OFF, STRICT_DETECTION, TRUE, completion, pay, said, score, total

from vrft_core.tasks.box_answers import Detection
from vrft_core.tasks.classification import rewards as classification
from vrft_core.tasks.detection import answers
from vrft_core.tasks.detection.rewards.boxes import match
from vrft_core.tasks.grounding import rewards as grounding


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
