"""Classification accuracy: what is right strictly, and what the published rule lets pass."""

import pytest

from vrft_core.tasks.classification.metrics.accuracy import accuracy, published_match


def said(name: str) -> str:
    return f"<think> hm </think> <answer>{name}</answer>"


def test_strict_accuracy_wants_the_whole_name_and_lenient_a_part_of_it():
    found = accuracy([said("Audi R8"), said("2012"), said("BMW")], ["Audi R8", "2012 Audi R8", "Audi R8"])
    assert (found["strict"], found["lenient"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_a_synonym_is_right_strictly():
    assert accuracy([said("Auto")], [("car", "auto")])["strict"] == 1


def test_case_underscores_and_an_article_do_not_matter():
    assert accuracy([said("the Horse Buggy.")], ["horse_buggy"])["strict"] == 1


@pytest.mark.parametrize("empty", ["", " ", "_"])
def test_an_empty_answer_is_wrong_strictly_and_right_as_published(empty):
    found = accuracy([said(empty)], ["tiger lily"])
    assert (found["strict"], found["lenient"]) == (0, 1)


def test_the_published_rule_reads_only_an_answer_on_one_line_between_tags():
    assert not published_match("tiger lily", "tiger lily")
    assert not published_match("<answer>tiger\nlily</answer>", "tiger lily")
    assert published_match("<answer>a list: rose, Tiger_Lily</answer>", "tiger lily")


def test_confusions_are_the_most_frequent_wrong_answers_with_what_the_published_rule_made_of_them():
    completions = [said("rose"), said("lily"), said("rose"), said("tiger lily")]
    found = accuracy(completions, ["tiger lily"] * 4, top=2)
    assert found["confusions"] == [
        {"true": "tiger lily", "said": "rose", "count": 2, "lenient": False},
        {"true": "tiger lily", "said": "lily", "count": 1, "lenient": True},
    ]


def test_no_answers_have_no_accuracy():
    assert accuracy([], []) == {"strict": None, "lenient": None, "queries": 0, "confusions": []}
