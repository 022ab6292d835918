"""Classification as a task: it keeps the contract, and a small cell goes through every stage."""

import re
from collections import Counter
from functools import cached_property
from inspect import signature

import pytest
from classified import RECIPE, SCENES, TASK
from small_project import edit_params, small_project

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.commands.predict import files_request, predict
from vrft_core.examples import load_examples
from vrft_core.families.form import Form
from vrft_core.stages import STAGES, run_stage
from vrft_core.tasks import Task, load_params
from vrft_core.tasks import task as contract
from vrft_core.tasks.classification.prompts.questions import question

CELL = "icons-mini-4shot-s0"


@pytest.mark.parametrize("part", [name for name, value in vars(Task).items() if isinstance(value, cached_property)])
def test_every_part_has_what_the_contract_asks_of_it(part):
    protocol, own = getattr(contract, part.capitalize()), getattr(TASK, part)
    for name in protocol.__annotations__:
        assert hasattr(own, name), f"{part}.{name}"
    for name, method in vars(protocol).items():
        if callable(method) and not name.startswith("_"):
            wanted = [parameter for parameter in signature(method).parameters if parameter != "self"]
            assert [*signature(getattr(own, name)).parameters] == wanted, f"{part}.{name}"


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
