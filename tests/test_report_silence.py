"""A model that names nothing is called silent: in the verdict, in the counts of right answers, and in the tables."""

import pytest

from vrft_core.report import figures
from vrft_core.report.judged import Judged, panel
from vrft_core.report.silence import Silence, sentences
from vrft_core.report.summary import summary
from vrft_core.report.verdict import blank

PRESENT, ABSENT = "about something present", "about something absent"


def speaks(silent: int, silent_present: int) -> Silence:
    """Of 60 answers, 10 about something present."""
    return Silence("names no object", 60, silent, 10, silent_present)


TALKS, MUTE = speaks(48, 3), speaks(60, 10)


def test_a_model_that_says_nothing_at_all_is_named():
    assert sentences({0: {"base": TALKS, "sft": TALKS, "rft": MUTE}}) == [
        "After RFT, the model names no object in any of the 60 answers."
    ]
    assert sentences({0: {"base": TALKS, "sft": TALKS, "rft": TALKS}}) == []


def test_so_is_one_that_says_nothing_about_nearly_all_that_is_present():
    said = sentences({0: {"base": speaks(45, 10), "sft": speaks(50, 9), "rft": speaks(50, 8)}})

    assert said == [
        "Untouched, the model names no object in any of the 10 answers about something present.",
        "After SFT, the model names no object in 9 of the 10 answers about something present.",
    ]


def test_a_study_says_in_which_seeds_and_counts_the_untouched_model_once():
    seeds = {seed: {"base": MUTE, "sft": TALKS if seed else MUTE, "rft": MUTE} for seed in (0, 1, 2)}

    assert sentences(seeds) == [
        "Untouched, the model names no object in any of the 60 answers.",
        "After SFT (seed 0), the model names no object in any of the 60 answers.",
        "After RFT (all 3 seeds), the model names no object in any of the 180 answers.",
    ]


def test_right_answers_are_counted_apart_where_absent_things_are_asked_about():
    kinds = {"1": PRESENT, **{str(n): ABSENT for n in range(2, 6)}}
    mute = {name: Judged(float(kind == ABSENT), (), kind) for name, kind in kinds.items()}
    talks = {name: Judged(float(name in "12"), (), kind) for name, kind in kinds.items()}

    found = panel({"base": talks, "sft": talks, "rft": mute}, "Right is right.", ())

    rows = [(row["label"], row["cells"][1:]) for row in found.tables[0].rows]
    space = "\N{NO-BREAK SPACE}%"
    assert rows == [
        (f"Right answers to questions {PRESENT} (1)", [f"1 (100{space})", f"0 (0{space})"]),
        (f"Right answers to questions {ABSENT} (4)", [f"1 (25{space})", f"4 (100{space})"]),
        ("· all together", [f"2 (40{space})", f"4 (80{space})"]),
    ]
    compared = [(row["label"], row["note"], row["cells"]) for row in found.tables[1].rows][:2]
    assert compared == [
        ("RFT − SFT", f"questions {PRESENT}", ["0", "1", "0", "0"]),
        ("RFT − SFT", f"questions {ABSENT}", ["3", "0", "1", "0"]),
    ]


def results(nothing: bool, *values: float) -> dict:
    entries = {f"m{n}": {"value": value, "low": 0.0, "high": 0.432} for n, value in enumerate(values)}
    return {
        "columns": [[name, f"AP{n}"] for n, name in enumerate(entries)], "verdict": {"nothing": nothing},
        "models": dict.fromkeys(("base", "sft", "rft"), entries), "measured": {"images": 15},
    }  # fmt: skip


def test_one_line_stands_in_place_of_tables_of_zeros():
    assert blank(results(True, 0.0, 0.0)) == (
        "AP0 and AP1 are 0.0 points of 100 for all three models. "
        "15 images cannot say more: 95 % intervals reach up to 43.2."
    )
    assert blank(results(True, 0.0, 0.01)) == "" == blank(results(False, 0.0, 0.0))


def test_nor_has_the_summary_a_table_of_zeros():
    found = results(True, 0.0)
    found |= {"cell": "a-cell", "measured": {"images": 15, "queries": 60}}
    found["verdict"] |= {"headline": "The model finds nothing.", "also": []}

    assert summary(found, "Asked twice.").splitlines()[2:] == [
        "**The model finds nothing.**", "", "",
        "AP0 is 0.0 points of 100 for all three models. 15 images cannot say more: 95 % intervals reach up to 43.2. "
        "60 questions. Asked twice.",
    ]  # fmt: skip


def test_the_chart_of_kl_shows_the_value_that_ended_a_training():
    log = [{"step": step, "kl": 0.1} for step in range(1, 40)] + [{"step": 40, "kl": 8.05}]

    [chart] = [one for one in figures.health(log) if "KL" in one["title"]]

    assert "highest of 5 steps from 0.1 to 8.05" in chart["svg"] and "mean of 5 steps from 0.1 to 1.69" in chart["svg"]
    assert "a single step can end a training" in chart["caption"]


@pytest.mark.parametrize("scores", [(0.0, 0.0), (0.0, 0.3), (0.01, 0.4)])
def test_no_axis_of_a_score_goes_below_zero(scores):
    points = [{"step": 10 * n, "score": score} for n, score in enumerate(scores)]
    record = {"validation": points, "log": [], "chosen_step": 10, "validation_metric": "score"}

    chart = figures.learning({"sft": record, "rft": record})[0]

    assert "−" not in chart["svg"]
    assert "table above" not in chart["caption"]
