"""The reward `ranking`: how often an answer's boxes stand right among those of its group."""

import pytest
from drawn_answers import apart, jittered, scene, some_box
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rewarded import FAR, LOW, OFF, TRUE, completion, pay, said

from vrft_core.tasks.detection import rewards as detection
from vrft_core.tasks.detection.rewards.boxes import match


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
