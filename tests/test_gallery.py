"""What the report's gallery shows: which questions, how right their answers are, and the choices that filter them."""

import numpy as np
import pytest
from plausible_results import plausible_project

from vrft_core.report.gallery import choose
from vrft_core.report.judged import OUTCOMES, Judged, outcome, outcomes, panel
from vrft_core.report.panel import MODELS, Inputs
from vrft_core.tasks import get_task
from vrft_core.tasks.detection.panels.judging import Boxes, judge
from vrft_core.tasks.detection.panels.precision_recall import curve

RIGHT, PARTLY, WRONG = Judged(1.0), Judged(0.5, ("missed",)), Judged(0.0, ("missed",))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    layout, params = plausible_project(tmp_path_factory.mktemp("project"))
    return Inputs.read(layout, params, params.cells()[0], get_task("detection"))


@pytest.fixture(scope="module")
def boxes(inputs) -> dict[str, Boxes]:
    return {model: Boxes.of(inputs, model) for model in MODELS}


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (RIGHT, WRONG, "better"),
        (PARTLY, WRONG, "better"),
        (PARTLY, RIGHT, "worse"),
        (RIGHT, RIGHT, "right"),
        (PARTLY, PARTLY, "wrong"),
    ],
)
def test_two_answers_to_a_question_are_compared_by_how_right_they_are(one, other, said):
    assert outcome(one, other) == said


def judgements(count: int) -> dict[str, dict[str, Judged]]:
    """Of ten questions RFT wins one, loses one, both are wrong in two, both are right in six."""
    kinds = [(RIGHT, WRONG), (WRONG, RIGHT), (WRONG, WRONG), (PARTLY, PARTLY), *[(RIGHT, RIGHT)] * 6]
    pairs = [kinds[number % 10] for number in range(count)]
    return {
        "base": {str(n): WRONG for n in range(count)},
        "sft": {str(n): sft for n, (_, sft) in enumerate(pairs)},
        "rft": {str(n): rft for n, (rft, _) in enumerate(pairs)},
    }


def test_wins_losses_and_ties_take_turns_and_no_image_comes_twice():
    judged = judgements(1000)
    pairs = {str(n): (n, n % 7) for n in range(1000)}

    chosen = choose(pairs, judged, {1, 2}, seed=0, count=40)

    found = outcomes(judged, "rft-sft")
    assert [found[name] for name in chosen[:4]] == list(OUTCOMES)
    assert {kind: [found[name] for name in chosen].count(kind) for kind in OUTCOMES} == dict.fromkeys(OUTCOMES, 10)
    assert len({pairs[name][0] for name in chosen}) == 40
    assert chosen == choose(pairs, judged, {1, 2}, seed=0, count=40) != choose(pairs, judged, {1, 2}, seed=1, count=40)


def test_an_image_comes_again_only_where_there_are_too_few():
    judged, pairs = judgements(20), {str(n): (n // 2, n % 2) for n in range(20)}

    assert sorted(choose(pairs, judged, set(), seed=0, count=99), key=int) == [str(n) for n in range(20)]
    first = choose(pairs, judged, set(), seed=0, count=10)
    assert len({pairs[name][0] for name in first}) >= 9


def test_counts_of_failures_and_of_wins_and_losses():
    found = panel(judgements(100), "Right is right.", ("missed",))

    kinds, pairs = ({row["label"]: row["cells"] for row in table.rows} for table in found.tables)
    assert kinds["Right answers"] == ["0 (0\N{NO-BREAK SPACE}%)", *["70 (70\N{NO-BREAK SPACE}%)"] * 2]
    assert kinds["Missed"] == ["100 (100\N{NO-BREAK SPACE}%)", *["30 (30\N{NO-BREAK SPACE}%)"] * 2]
    assert pairs["RFT − SFT"] == ["10", "10", "60", "20"]


@pytest.mark.slow
def test_the_area_under_the_precision_recall_curve_is_ap50(boxes):
    for each in boxes.values():
        assert curve(each.matches).mean() == pytest.approx(each.matches.average_precision()["AP50"], abs=1e-9)


@pytest.mark.slow
def test_a_right_answer_has_every_box_and_no_other(inputs, boxes):
    judged = judge(inputs, boxes)

    for model, rows in judged.items():
        for name, one in rows.items():
            row, outcome = boxes[model].rows[name], boxes[model].outcome[name]
            objects = inputs.truth.boxes(row["image_id"], row["category_id"])
            perfect = int((outcome == 1).sum()) == len(objects) and not (outcome == 0).any()
            assert (one.quality == 1) == perfect
            assert ("an object missed" in one.failures) == (int((outcome == 1).sum()) < len(objects))
    qualities = {model: np.mean([one.quality for one in rows.values()]) for model, rows in judged.items()}
    assert qualities["base"] < qualities["rft"]
