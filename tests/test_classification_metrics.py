"""What classification measures: accuracies, groups of classes, samples, certainty, and what goes wrong."""

import random
from pathlib import Path

import numpy as np
import pytest
from classified import RECIPE, TASK, rows, settings, shown, values

from vrft_core.evaluation.intervals import intervals
from vrft_core.families.form import Form
from vrft_core.tasks.classification.diagnostics import diagnose, health, measured
from vrft_core.tasks.classification.metrics import columns, scores, specs, validate
from vrft_core.tasks.classification.prompts import examples, labelled
from vrft_core.tasks.classification.rewards import read
from vrft_core.tasks.classification.settings import Settings


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
