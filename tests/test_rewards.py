"""What the strict rewards pay for and what they never pay for, by example."""

from importlib import import_module

import pytest
from rewarded import FAR, NEAR, OFF, PUBLISHED, TRUE, completion, pay, said, score, total

from vrft_core.errors import InputError
from vrft_core.tasks.classification import rewards as classification
from vrft_core.tasks.detection import rewards as detection
from vrft_core.tasks.grounding import rewards as grounding


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


def test_training_and_evaluation_read_answers_with_the_same_function():
    for name, rewards in (("detection", detection), ("classification", classification), ("grounding", grounding)):
        assert rewards.parse is import_module(f"vrft_core.tasks.{name}.answers").parse


def test_an_unknown_reward_is_refused_by_name():
    for name in ("iuo", "iou@", "iou@1.5", "iou@high", "iou@nan", "confidence@0.5", "published/iou@0.5"):
        with pytest.raises(InputError, match=r"known: average_precision, .*confidence"):
            detection.get(name)
