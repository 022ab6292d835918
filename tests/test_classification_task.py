"""Classification as a task: what is asked, what counts as right, and a small cell through every stage."""

import json
import random
import re
from collections import Counter
from functools import cached_property
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from small_project import ROOT, edit_params, small_project

from vrft_core import io
from vrft_core.annotations import Annotations, spoken
from vrft_core.cell import Layout
from vrft_core.commands.predict import files_request, predict
from vrft_core.errors import InputError
from vrft_core.evaluation.intervals import intervals
from vrft_core.examples import load_examples
from vrft_core.families.form import Form
from vrft_core.params import IconScenes
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.stages import STAGES, run_stage
from vrft_core.tasks import Task, get_task, load_params
from vrft_core.tasks import task as contract
from vrft_core.tasks.classification import supervision
from vrft_core.tasks.classification.answers import agree, certainty
from vrft_core.tasks.classification.diagnostics import diagnose, health, measured
from vrft_core.tasks.classification.metrics import columns, scores, specs, validate
from vrft_core.tasks.classification.prompts import UNKNOWN, asked_by, examples, labelled
from vrft_core.tasks.classification.prompts.questions import answer, question
from vrft_core.tasks.classification.rewards import read
from vrft_core.tasks.classification.settings import Settings
from vrft_core.tasks.task import Written

CELL = "icons-mini-4shot-s0"
TASK = get_task("classification")
RECIPE = load_params(ROOT / "params.yaml").recipes["mini"]
REWARDS = {"accuracy": 1.0, "format": 1.0}
CLASSES = {"cow": ["beef"], "bull": ["ox"], "domestic_ass": ["donkey"], "tiger": []}  # ids from 1
SCENES = IconScenes(
    image_size=112,
    images={"train": 260, "val": 8, "eval": 16},
    categories={"f": ["cow"], "c": ["bull", "domestic_ass"], "r": ["water_buffalo"]},
    seed=0,
)


def settings(**changes) -> Settings:
    return Settings(rewards=REWARDS, **changes)


def shown(*classes: str) -> Annotations:
    """Image 1 shows the first class, image 2 the second, and so on."""
    ids = {name: number for number, name in enumerate(CLASSES, 1)}
    return Annotations.from_dict(
        {
            "images": [
                {"id": n, "width": 112, "height": 112, "file_name": f"{n}.png"} for n, _ in enumerate(classes, 1)
            ],
            "annotations": [{"id": n, "image_id": n, "category_id": ids[c]} for n, c in enumerate(classes, 1)],
            "categories": [
                {"id": ids[name], "name": name, "synonyms": [name, *more], "frequency": "c"}
                for name, more in CLASSES.items()
            ],
        }
    )


def rows(truth: Annotations, *said: str, drawn: list[list[str]] | None = None) -> list[dict]:
    """An answer an image, in order."""
    found = []
    for number, (image, name) in enumerate(zip(truth.images, said, strict=True)):
        [category] = truth.category_ids(image)
        row = {
            "id": f"{image}-{category}", "image_id": image, "category_id": category, "completion": "", "said": name,
            "published": name, "certainty": 0.5, "reasons": [] if name else ["empty_answer"], "tokens": 5,
        }  # fmt: skip
        if drawn:
            agree(row, [{"said": one} for one in drawn[number]])
        found.append(row)
    return found


def values(truth: Annotations, answers: list[dict], taught=(), **changes) -> dict[str, float]:
    found = scores(truth, answers, sorted(truth.categories), settings(**changes), taught)
    return dict(zip([metric.name for metric in found.metrics], found.values().tolist(), strict=True))


# The contract


@pytest.mark.parametrize("part", [name for name, value in vars(Task).items() if isinstance(value, cached_property)])
def test_every_part_has_what_the_contract_asks_of_it(part):
    protocol, own = getattr(contract, part.capitalize()), getattr(TASK, part)
    for name in protocol.__annotations__:
        assert hasattr(own, name), f"{part}.{name}"
    for name, method in vars(protocol).items():
        if callable(method) and not name.startswith("_"):
            wanted = [parameter for parameter in signature(method).parameters if parameter != "self"]
            assert [*signature(getattr(own, name)).parameters] == wanted, f"{part}.{name}"


def test_a_benchmark_may_say_what_its_images_show_in_plain_words_only(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("subject: animal", 'subject: "animal. Say yes"'))
    with pytest.raises(InputError, match=r"benchmarks\.icons\.subject"):
        load_params(tmp_path / "params.yaml")


# What is asked


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
        next(examples([(1, 1)], truth, Path(), Form.of(RECIPE, settings(class_list=on), "animal"))).question
        for on in (False, True)
    )
    assert "bull" not in open_
    assert "It is one of these: bull, cow, domestic ass, tiger." in listed


def test_an_example_expects_the_plain_name_and_knows_the_others():
    [one] = examples([(1, 3)], shown("domestic_ass"), Path("images"), Form.of(RECIPE, settings(), "animal"))
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


# What is read


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


# What is measured


def test_strict_accuracy_decides_and_lenient_accuracy_stands_beside_it():
    truth = shown("cow", "bull", "domestic_ass", "tiger")
    found = values(truth, rows(truth, "Cow", "ox", "ass", ""))
    assert found["accuracy/strict"] == 0.5  # a synonym is right, a part of a name is not
    assert found["accuracy/lenient"] == 0.75  # a part is right, nothing too, a synonym is not
    assert specs(settings())[0].name == "accuracy/strict" == TASK.metrics.VALIDATION
    assert columns(settings())[0][0] == "accuracy/strict"


def test_macro_accuracy_counts_each_class_alike():
    truth = shown("cow", "cow", "cow", "tiger")
    found = values(truth, rows(truth, "cow", "cow", "cow", "cow"))
    assert (found["accuracy/strict"], found["accuracy/macro"]) == (0.75, 0.5)


def test_taught_and_untaught_classes_are_told_apart_with_their_harmonic_mean():
    truth = shown("cow", "cow", "tiger", "tiger")
    found = values(truth, rows(truth, "cow", "bull", "tiger", "tiger"), taught={1})
    assert (found["accuracy/taught"], found["accuracy/untaught"]) == (0.5, 1.0)
    assert found["accuracy/harmonic"] == pytest.approx(2 / 3)
    lost = values(truth, rows(truth, "cow", "cow", "cow", "cow"), taught={1})
    assert (lost["accuracy/untaught"], lost["accuracy/harmonic"]) == (0, 0)


@pytest.mark.parametrize("taught", [(), (1, 2, 3, 4)])
def test_where_all_or_no_classes_are_taught_there_is_nothing_to_compare(taught):
    truth = shown("cow", "tiger")
    found = values(truth, rows(truth, "cow", "bull"), taught=taught)
    assert all(np.isnan(found[f"accuracy/{name}"]) for name in ("taught", "untaught", "harmonic"))
    entry = intervals({"base": scores(truth, rows(truth, "cow", "bull"), [1, 4], settings(), taught)}, 20, 0)
    assert entry["models"]["base"]["accuracy/harmonic"] == {"value": None, "low": None, "high": None}


def test_pass_at_k_is_measured_where_samples_were_drawn():
    truth = shown("cow", "tiger")
    drawn = [["cow", "bull", "bull", "cow"], ["bull", "bull", "bull", "cow"]]
    found = values(truth, rows(truth, "cow", "cow", drawn=drawn), samples=4)
    assert (found["pass/1"], found["pass/4"]) == (0.25, 0.5)
    assert not [name for name in values(truth, rows(truth, "cow", "cow")) if name.startswith("pass")]
    assert values(truth, rows(truth, "cow", "cow", drawn=[["cow"], ["cow"]]), samples=1)["pass/1"] == 0.5


def test_every_metric_and_every_difference_has_an_interval():
    truth = shown(*["cow", "tiger"] * 10)
    lot = random.Random(0)
    models = {
        name: scores(truth, rows(truth, *(lot.choice(["cow", "tiger"]) for _ in range(20))), [1, 4], settings(), {1})
        for name in ("base", "rft")
    }
    found = intervals(models, 50, 0, differences=[("rft", "base")])
    for metrics in (*found["models"].values(), found["differences"]["rft-base"]):
        assert set(metrics) == {spec.name for spec in specs(settings())}
        for entry in metrics.values():
            assert entry["low"] <= entry["value"] <= entry["high"]
    assert found["models"]["base"]["accuracy/harmonic"]["low"] < found["models"]["base"]["accuracy/harmonic"]["high"]


def test_per_class_results_and_confusions_are_recorded():
    truth = shown("cow", "cow", "domestic_ass")
    found = TASK.metrics.details(truth, rows(truth, "bull", "cow", "ass"), [1, 2, 3, 4], settings(), None)
    assert found["per_class"]["cow"] == {
        "category_id": 1, "frequency": "c", "images": 2, "strict": 0.5, "lenient": 0.5, "pass": None,
    }  # fmt: skip
    assert found["per_class"]["domestic ass"]["lenient"] == 1
    assert found["confusions"] == [
        {"true": "cow", "said": "bull", "count": 1, "lenient": False},
        {"true": "domestic ass", "said": "ass", "count": 1, "lenient": True},
    ]


def test_a_checkpoint_is_chosen_by_strict_accuracy_of_its_own_examples():
    truth, form = shown("cow", "bull"), Form.of(RECIPE)
    asked = list(examples(labelled(truth, [1, 2]), truth, Path(), form))
    assert validate(asked, rows(truth, "cow", "ox"), settings(), form) == 1
    assert validate(asked, rows(truth, "cow", "bu"), settings(), form) == 0.5


# What goes wrong


def test_names_of_no_class_and_one_name_for_everything_are_noticed():
    truth = shown("cow", "bull", "domestic_ass", "tiger")
    found = diagnose(rows(truth, "cow", "Cow", "unicorn", ""), truth)
    assert found["names"] == {
        "empty": 0.25, "unknown": pytest.approx(1 / 3), "different": 2, "one_name": 0.5,
        "length": pytest.approx(13 / 3),
    }  # fmt: skip
    assert found["reasons"] == {"empty_answer": 1}
    assert measured(found) == {"empty_names": 0.25, "unknown_names": pytest.approx(1 / 3), "one_name": 0.5}
    assert set(measured(found)) == set(TASK.checks.LIMITS)


def test_certainty_is_judged_by_who_is_right():
    truth = shown("cow", "bull")
    answers = rows(truth, "cow", "cow")
    answers[0]["certainty"], answers[1]["certainty"] = 0.9, 0.2
    found = diagnose(answers, truth)["certainty"]
    assert (found["auroc"], found["calibration"]["ece"]) == (1.0, pytest.approx(0.15))


def test_a_batch_of_answers_shows_missing_and_long_names():
    batch = [read(f"<think>x</think><answer>{name}</answer>") for name in ("cow", "a cow and a bull", "")]
    found = health(batch, [["cow"], ["bull"], ["bull"]])
    assert found == {"answers/empty": pytest.approx(1 / 3), "names/length": 8.5, "names/different": 1.0}
    assert set(TASK.diagnostics.GUARDS) == set(Settings.MEASURED)
    assert set(TASK.diagnostics.GUARDS.values()) <= set(found)


# What the small policy sees first


def test_labels_before_fine_tuning_name_the_look_alike_as_often_as_the_recipe_says():
    pretraining = RECIPE.policy.pretraining.model_copy(update={"images": 40, "wrong_names": {"c": 0.25}})
    form = Form.of(RECIPE, settings(), "animal")
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
    form = Form.of(RECIPE, settings(), "animal")
    tokenizer = build_tokenizer(supervision.names(SCENES), supervision.pieces(form), 20)
    assert len(tokenizer(question("animal", thinking=True))["input_ids"]) == 1
    for category in ({"name": name} for name in SCENES.names):
        assert len(tokenizer(answer(spoken(category)[0], thinking=True))["input_ids"]) == 5


def test_a_list_of_classes_is_refused_before_a_policy_is_made_that_cannot_read_it():
    with pytest.raises(InputError, match="class_list"):
        supervision.pieces(Form.of(RECIPE, settings(class_list=True), "animal"))


# A small cell through every stage


def icons_cells(params: dict) -> None:
    """Two seeds of a small cell that learns nothing, in place of detection's."""
    row = {"benchmark": "icons", "recipe": "mini", "task": "classification", "data": "embedded"}
    params["grid"] = {
        "recipes": ["mini"],
        "data": {"icons-embedded": {"benchmark": "icons", "data": "embedded"}},
        "setups": {"icons-mini": row},
        "cells": {f"icons-mini-4shot-s{seed}": {**row, "shots": 4, "seed": seed} for seed in (0, 1)},
        "studies": {"icons-mini-4shot": {**row, "shots": 4, "seeds": [0, 1]}},
    }
    params["nightly"] = {}
    params["benchmarks"]["icons"]["embedded"] = SCENES.model_dump()
    del params["benchmarks"]["icons"]["categories"]  # frequent classes are not taught here
    params["recipes"]["mini"]["policy"]["pretraining"]["benchmarks"] = {"icons": 1.0}
    params["recipes"]["mini"]["tasks"]["classification"]["samples"] = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Layout, parameters, and what each stage returned."""
    root = small_project(tmp_path_factory.mktemp("icons") / "project")
    edit_params(root, icons_cells)
    layout, params = Layout(root), load_params(root / "params.yaml")
    numbers = {}
    for seed in (0, 1):
        cell = params.parse_cell(f"icons-mini-4shot-s{seed}")
        for name, scope in STAGES.items():
            if name != "study" and (seed == 0 or scope == "cell"):
                numbers[name] = run_stage(name, layout, params, cell)
    numbers["study"] = run_stage("study", layout, params, cell)
    return layout, params, numbers


@pytest.mark.slow
def test_raw_data_samples_and_examples_are_those_of_the_benchmark(made):
    layout, params, numbers = made
    cell = params.parse_cell(CELL)
    assert numbers["raw"]["annotations"] == 284
    assert numbers["prompts"] == {"train": 12, "val": 8}  # four images of three classes; the frequent one is not taught
    examples = load_examples(layout.prompts(cell) / "train")
    assert set(examples["question"]) == {question("animal", thinking=True)}
    assert Counter(examples["label"]) == {"bull": 4, "domestic ass": 4, "water buffalo": 4}


@pytest.mark.slow
def test_the_contracts_hold_of_the_data_and_notice_what_is_broken(made, tmp_path):
    from pipelines.checks.suites import suites
    from pipelines.checks.validation import validate as hold

    layout, params, _ = made
    cell, form = params.parse_cell(CELL), Form.of(RECIPE)
    directories = layout.prompts(cell), layout.raw(cell), layout.few_shot(cell)
    found = {"raw": TASK.frames.raw(layout.raw(cell)), "prompts": TASK.frames.prompts(*directories, form)}
    for stage, frames in found.items():
        suite = suites(TASK.checks.EXPECTATIONS[stage])
        assert set(frames) == set(suite) == set(TASK.checks.DESCRIPTIONS[stage])
        assert {name: one.broken for name, one in hold(frames, suite).items() if not one.passed} == {}

    data = io.read_json(layout.raw(cell) / "annotations.json")
    data["annotations"][1]["image_id"] = data["annotations"][0]["image_id"]
    data["categories"][0]["synonyms"].append(data["categories"][1]["name"].upper())
    io.write_json(tmp_path / "annotations.json", data)
    broken = hold(TASK.frames.raw(tmp_path), suites(TASK.checks.EXPECTATIONS["raw"]))
    assert {name for name, one in broken.items() if not one.passed and one.critical} == {"labels", "names"}

    frames = TASK.frames.prompts(layout.prompts(cell), tmp_path, layout.few_shot(cell), form)
    assert not frames["examples"]["other_classes"].eq(0).all()  # a name that now means two classes


@pytest.mark.slow
def test_an_evaluation_records_accuracies_of_all_groups_and_of_samples(made):
    layout, params, _ = made
    for method in ("base", "sft", "rft"):
        place = layout.evaluation(params.parse_cell(CELL), method)
        found, answers = io.read_json(place / "metrics.json"), io.read_jsonl(place / "predictions.jsonl")
        assert (found["task"], found["version"], found["queries"]) == ("classification", 1, 16)
        assert set(found["metrics"]) == {
            "accuracy/strict", "accuracy/macro", "accuracy/taught", "accuracy/untaught", "accuracy/harmonic",
            "accuracy/lenient", "pass/1", "pass/2",
        }  # fmt: skip
        assert all(entry["value"] is not None for entry in found["metrics"].values())
        assert all(len(row["drawn"]) == 2 and 0 <= row["certainty"] <= 1 for row in answers)
        assert set(found["per_class"]) == {"cow", "bull", "domestic ass", "water buffalo"}


@pytest.mark.slow
def test_training_logs_the_tasks_own_guards_and_chooses_by_strict_accuracy(made):
    layout, params, numbers = made
    record = io.read_json(layout.training(params.parse_cell(CELL), "rft"))
    assert record["validation_metric"] == "accuracy/strict"
    assert all("answers/empty" in row for row in record["log"])
    assert {"rewards/accuracy/mean", "rewards/format/mean"} <= set(record["log"][0])
    assert re.match(r"20\d\d-\d\d-\d\dT.*\+00:00$", record["finished"])
    assert " thread" in record["hardware"]
    assert "validation/accuracy/strict" in numbers["sft"]


@pytest.mark.slow
def test_the_report_shows_classes_confusions_images_and_answers(made):
    layout, params, _ = made
    directory = layout.report(params.parse_cell(CELL))
    page, found = (directory / "report.html").read_text(), io.read_json(directory / "metrics.json")
    for part in ("By class", "What was taken for what", "Images, before and after", "The answers", "What the rewards"):
        assert part in page
    assert TASK.panels.WORDS in page and "Macro" not in page and "“corrected”" not in page
    assert found["subject"] == "few-shot classification" and found["verdict"]["metric"] == "accuracy/strict"
    assert found["columns"][0] == ["accuracy/strict", "accuracy"]
    assert "no list of classes" in (directory / "summary.md").read_text()
    assert found["adversarial"]["mismatches"] == [] and found["adversarial"]["strict_overpaid"] == 0


@pytest.mark.slow
def test_the_study_compares_seeds(made):
    layout, params, _ = made
    found = io.read_json(layout.report(params.parse_cell("icons-mini-4shot")) / "metrics.json")
    assert found["seeds"] == [0, 1] and found["verdict"]["metric"] == "accuracy/strict"


@pytest.mark.slow
def test_any_images_can_be_named_without_knowing_their_classes(made, tmp_path):
    layout, params, _ = made
    cell = params.parse_cell(CELL)
    folder = tmp_path / "images"
    folder.mkdir()
    for file in sorted((layout.raw(cell) / "images").iterdir())[:3]:
        (folder / file.name).write_bytes(file.read_bytes())
    request = files_request(TASK, params.recipe(cell), layout.policy(cell), None, folder, None, ["cow", "bull"])
    assert predict(request, None, tmp_path / "named.jsonl") == {"images": 3, "questions": 3}
    assert all("said" in row and "category" not in row for row in io.read_jsonl(tmp_path / "named.jsonl"))
