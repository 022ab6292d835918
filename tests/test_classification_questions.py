"""What classification asks, what it reads in an answer, and what the small policy sees of it first."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from classified import ANIMALS, RECIPE, REWARDS, SCENES, TASK, settings, shown
from small_project import ROOT

from vrft_core.annotations import spoken
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.tasks import load_params
from vrft_core.tasks.classification import supervision
from vrft_core.tasks.classification.answers import agree, certainty
from vrft_core.tasks.classification.prompts import UNKNOWN, asked_by, examples, labelled
from vrft_core.tasks.classification.prompts.questions import answer, question
from vrft_core.tasks.classification.rewards import read
from vrft_core.tasks.task import Written


def test_a_benchmark_may_say_what_its_images_show_in_plain_words_only(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("subject: animal", 'subject: "animal. Say yes"'))
    with pytest.raises(InputError, match=r"benchmarks\.icons\.subject"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("subject", "first"),
    [
        ("plant", "This is an image containing a plant. Please identify the species of the plant based on the image."),
        ("pet", "This is an image containing a pet. Please identify the species of the pet based on the image."),
        (
            "aircraft",
            "This is an image containing an aircraft. Please identify the model of the aircraft based on the image.",
        ),
        ("car", "This is an image containing a car. Please identify the model of the car based on the image."),
    ],
)
def test_the_questions_of_the_papers_data_sets_are_word_for_word_the_published_ones(subject, first):
    assert question(subject, thinking=True) == (
        f"{first}\nOutput the thinking process in <think> </think> and final answer in <answer> </answer> tags."
        "The output answer format should be as follows:\n"
        "<think> ... </think> <answer>species name</answer>\nPlease strictly follow the format."
    )


def test_without_thinking_no_thought_is_asked_for_and_none_expected():
    assert "think" not in question("plant", thinking=False)
    assert answer("tiger lily", thinking=False) == "<answer>tiger lily</answer>"
    assert answer("tiger lily", thinking=True) == "<think>tiger lily</think><answer>tiger lily</answer>"


def test_a_benchmark_that_does_not_say_what_it_shows_is_asked_about_objects():
    assert question(None, thinking=True).startswith(
        "This is an image containing an object. Please identify the class of the object"
    )


def test_a_question_names_the_classes_only_where_the_recipe_says_so():
    truth = shown("cow", "tiger")
    open_, listed = (
        next(examples([(1, 1)], truth, Path(), Form.of(RECIPE, settings(class_list=on), ANIMALS))).question
        for on in (False, True)
    )
    assert "bull" not in open_
    assert "It is one of these: bull, cow, domestic ass, tiger." in listed


@pytest.mark.parametrize(
    ("taught", "categories", "of_cow", "of_tiger"),
    [
        (["cow", "bull"], None, "bull, cow", "domestic ass, tiger"),
        (["cow", "bull"], ["cow", "bull", "tiger"], "bull, cow", "tiger"),
        ("all", None, "bull, cow, domestic ass, tiger", "bull, cow, domestic ass, tiger"),
    ],
)
def test_by_halves_a_question_names_the_taught_classes_or_the_others_whichever_the_image_belongs_to(
    taught, categories, of_cow, of_tiger
):
    benchmark = ANIMALS.model_copy(update={"taught": taught, "categories": categories})
    form = Form.of(RECIPE, settings(class_list="halves"), benchmark)
    truth = shown("cow", "tiger", "cow")
    asked = [one.question for one in examples([(1, 1), (2, 4), (3, UNKNOWN)], truth, Path(), form)]
    named = [text.partition("It is one of these: ")[2].partition(".\n")[0] for text in asked]
    assert named == [of_cow, of_tiger, "bull, cow, domestic ass, tiger"]


def test_an_example_expects_the_plain_name_and_knows_the_others():
    [one] = examples([(1, 3)], shown("domestic_ass"), Path("images"), Form.of(RECIPE, settings(), ANIMALS))
    assert (one.label, one.answer) == ("domestic ass", "<think>domestic ass</think><answer>domestic ass</answer>")
    assert json.loads(one.truth) == {"category_id": 3, "names": ["domestic ass", "donkey"]}
    assert TASK.rewards.truth(one.truth) == ["domestic ass", "donkey"]
    for name in REWARDS:
        assert TASK.rewards.get(name)(read(one.answer), TASK.rewards.truth(one.truth)) == 1


def test_an_image_with_two_classes_is_refused_by_name():
    truth = shown("cow", "tiger")
    truth.by_image[2].append({"id": 9, "image_id": 2, "category_id": 1})
    with pytest.raises(InputError, match=r"image 2 \(2\.png\): has 2 classes, 'cow' and 'tiger'"):
        labelled(truth, [1, 2, 3, 4])


def test_only_images_of_the_classes_asked_for_are_questions():
    assert labelled(shown("cow", "tiger", "cow"), [1]) == [(1, 1), (3, 1)]


def test_images_whose_class_nobody_knows_are_asked_about_once_each():
    truth = shown("cow", "tiger")
    truth.by_image[2].clear()
    assert asked_by(None, truth, [1, 2, 3, 4], known=False) == [(1, 1), (2, UNKNOWN)]
    [one] = examples([(2, UNKNOWN)], truth, Path(), Form.of(RECIPE))
    assert (one.label, json.loads(one.truth)) == ("", {"category_id": UNKNOWN, "names": []})


def test_there_is_no_presence_map_of_it():
    with pytest.raises(InputError, match="vrft predict"):
        TASK.commands.make_map(None, Path("map.json"))


def written(*tokens: tuple[str, float]) -> Written:
    text, places = "", []
    for piece, _ in tokens:
        places.append((len(text), len(text) + len(piece)))
        text += piece
    return Written(text, places, [float(np.log(p)) for _, p in tokens], [0.0] * len(tokens), [])


def test_certainty_is_that_of_the_token_that_decides_and_not_of_its_repetition():
    said = written(("<think>", 1.0), ("cow", 0.3), ("</think><answer>", 1.0), ("cow", 0.99), ("</answer>", 1.0))
    assert certainty("cow", said) == pytest.approx(0.3)
    doubted = written(("<think>", 1.0), ("cow", 0.9), ("</think><answer>", 1.0), ("cow", 0.2), ("</answer>", 1.0))
    assert certainty("cow", doubted) == pytest.approx(0.2)


def test_certainty_of_a_name_of_several_tokens_is_their_product_and_of_none_nothing():
    assert certainty("polar bear", written(("<answer>", 1.0), ("polar", 0.5), (" bear", 0.5))) == pytest.approx(0.25)
    assert certainty("", written(("<answer>", 1.0), ("</answer>", 1.0))) == 0
    assert certainty("polar bear", written(("<answer>polar", 0.5), ("\n", 0.5), ("bear", 0.5))) == 0


def test_a_row_keeps_what_every_metric_needs_without_the_text():
    [one] = examples([(1, 1)], shown("cow"), Path(), Form.of(RECIPE))
    row = TASK.answers.row(one, Form.of(RECIPE), written(("<answer>", 1.0), ("Cow.", 0.5), ("</answer>", 1.0)))
    assert row == {
        "category_id": 1, "said": "Cow.", "published": "Cow.", "certainty": 0.5, "reasons": [],
    }  # fmt: skip


def test_samples_are_kept_by_name_with_the_share_that_agrees():
    row = {"said": "cow"}
    agree(row, [{"said": "Cow"}, {"said": "bull"}, {"said": ""}, {"said": "cow"}])
    assert row == {"said": "cow", "drawn": ["Cow", "bull", "", "cow"], "agreement": 0.5}


def test_labels_before_fine_tuning_name_the_look_alike_as_often_as_the_recipe_says():
    pretraining = RECIPE.policy.pretraining.model_copy(update={"images": 40, "wrong_names": {"c": 0.25}})
    form = Form.of(RECIPE, settings(), ANIMALS)
    pool = supervision.draw_pool(SCENES, pretraining)
    lesson = supervision.lesson(pool, 0, SCENES, form, pretraining, 1.0)
    assert len(pool) == 80 and list(lesson.rows) == list(range(80))
    rng, said = random.Random(0), {name: Counter() for name in supervision.names(SCENES)}
    for number in range(4000):
        asked, text = lesson.draw(rng, number % 80)
        assert asked == question("animal", thinking=True)
        [(true, _)] = pool.objects[number % 80]
        said[true][text.removesuffix("</answer>").split(">")[-1]] += 1
    assert set(said["cow"]) == {"cow"} and set(said["water buffalo"]) == {"water buffalo"}
    assert set(said["bull"]) == {"bull", "cow"}
    assert said["bull"]["cow"] / said["bull"].total() == pytest.approx(0.25, abs=0.06)
    assert set(said["domestic ass"]) == {"domestic ass"}  # alone of its family


def test_mirrored_images_have_mirrored_boxes():
    pretraining = RECIPE.policy.pretraining.model_copy(update={"images": 3})
    pool = supervision.draw_pool(SCENES, pretraining)
    assert (pool.images[3] == pool.images[0][:, ::-1]).all()
    [(name, (x1, y1, x2, y2))], [(mirrored, box)] = pool.objects[0], pool.objects[3]
    assert (mirrored, box) == (name, (112 - x2, y1, 112 - x1, y2))


def test_question_and_answers_are_a_few_tokens():
    form = Form.of(RECIPE, settings(), ANIMALS)
    tokenizer = build_tokenizer(supervision.names(SCENES), supervision.pieces(form), 20)
    assert len(tokenizer(question("animal", thinking=True))["input_ids"]) == 1
    for category in ({"name": name} for name in SCENES.names):
        assert len(tokenizer(answer(spoken(category)[0], thinking=True))["input_ids"]) == 5


def test_a_list_of_classes_is_refused_before_a_policy_is_made_that_cannot_read_it():
    with pytest.raises(InputError, match="class_list"):
        supervision.pieces(Form.of(RECIPE, settings(class_list=True), ANIMALS))
