"""From a labelled folder to a report, and what its headline says when there is little to say."""

import json
import re
from pathlib import Path

import own_formats
import pytest
from own_formats import drawn
from small_project import ROOT, edit_params, run, small_project

from vrft_core import io
from vrft_core.evaluation.scores import MetricSpec
from vrft_core.report.stopped import stops
from vrft_core.report.verdict import verdict
from vrft_core.stages import STAGES

SPEC = MetricSpec("x/AP", "X AP", "ap")
IN_ORDER = "from vrft_core.cli import main; [exit(1) for one in {} if main(one)]"


def found(base: float, sft: float, rft: float) -> dict:
    def entry(value: float) -> dict:
        return {"x/AP": {"value": value, "low": value, "high": value}}

    pairs = {"rft-sft": rft - sft, "rft-base": rft - base, "sft-base": sft - base}
    return {
        "models": {"base": entry(base), "sft": entry(sft), "rft": entry(rft)},
        "differences": {pair: entry(value) for pair, value in pairs.items()},
    }


def stopped(step: int, chosen: int, *scores: float) -> dict:
    """Of a training with a checkpoint every 15 steps, and one at its end."""
    rows = [{"step": 0, "score": 0.1}, *({"step": 15 * n, "score": s} for n, s in enumerate(scores, 1))]
    rows.append({"step": step, "score": 0.9})
    return {"chosen_step": chosen, "stopped": {"step": step, "limit": "kl is 6, above 5"}, "validation": rows}


def test_a_headline_says_when_the_model_finds_nothing_and_claims_no_comparison():
    said = verdict(found(0, 0, 0), SPEC, 91)

    assert said["headline"].startswith("The model finds nothing on these images, before or after training: X AP is 0.0")
    assert said["nothing"] and "No difference" not in " ".join([said["headline"], *said["also"]])
    assert "next to nothing" in verdict(found(0, 0.0001, 0), SPEC, 91)["headline"]
    assert not verdict(found(0, 0.3, 0), SPEC, 91)["nothing"]


def test_few_evaluation_images_are_pointed_out():
    assert "only 6 evaluation images" in verdict(found(0.1, 0.2, 0.3), SPEC, 6)["also"][-1]
    assert not any("only" in line for line in verdict(found(0.1, 0.2, 0.3), SPEC, 50)["also"])


def test_a_headline_begins_with_the_verdict_and_then_names_the_training_that_a_guard_ended():
    said = stops({0: {"sft": {"chosen_step": 20}, "rft": stopped(31, 15, 0.3, 0.2)}})

    assert said == ["RFT was stopped at step 31 (kl is 6, above 5); its best checkpoint, of step 15, is compared here."]
    headline = verdict(found(0.1, 0.2, 0.3), SPEC, 60, said)["headline"]
    assert headline.startswith("RFT beats SFT") and headline.endswith(said[0])
    assert "the weights it had there" in stops({0: {"rft": stopped(3, 3)}})[0]


def test_a_checkpoint_is_called_the_best_only_where_it_is_better_than_others():
    assert "its best checkpoint, of step 30," in stops({0: {"rft": stopped(40, 30, 0.2, 0.3)}})[0]
    assert "the earliest of its equally good" in stops({0: {"rft": stopped(40, 15, 0.0, 0.0)}})[0]
    assert "its only checkpoint, of step 15," in stops({0: {"rft": stopped(20, 15, 0.3)}})[0]


def test_the_stops_of_a_study_are_one_sentence():
    seeds = {0: {"rft": stopped(31, 15, 0.3)}, 1: {"rft": {"chosen_step": 1}}, 2: {"rft": stopped(7, 7)}}

    assert stops(seeds) == [
        "RFT was stopped in 2 of 3 seeds: seed 0 at step 31 (kl is 6, above 5; compared here: step 15), "
        "seed 2 at step 7 (kl is 6, above 5; compared here: step 7)."
    ]


def tiny(params: dict) -> None:
    """A guard that ends RFT at its first step, and answers of a few words."""
    params["recipes"]["mini"]["rft"]["guards"] = {"truncated": {"below": 2.0, "then": "stop"}}
    for scope in ("data", "setups", "cells", "studies"):
        params["grid"][scope] = {k: v for k, v in params["grid"][scope].items() if k.startswith("lvis")}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A small project with three folders of the same images, added and run to their reports, in one process."""
    root = small_project(tmp_path_factory.mktemp("own") / "project")
    edit_params(root, tiny)
    photos = drawn(root / "drawn", count=30, splits=False)
    commands = []
    for format in ("voc", "class_folders", "expressions"):
        folder = root / f"my {format.replace('_', ' ')}"
        folder.mkdir()
        getattr(own_formats, format)(folder, photos)
        commands.append(["--root", str(root), "init", str(folder), "--seeds", "0"])
    run("python", "-c", IN_ORDER.format(commands), cwd=root, PYTHONPATH=str(root))
    commands = [["--root", str(root), "stage", "policy", "--cell", "mini"]]
    for name in ("my-voc", "my-class-folders", "my-expressions"):
        keys = {"data": f"{name}-own", "setup": f"{name}-mini", "study": f"{name}-mini-1shot"}
        commands += [
            ["--root", str(root), "stage", stage, "--cell", keys.get(scope, f"{name}-mini-1shot-s0")]
            for stage, scope in STAGES.items()
            if stage != "policy"
        ]
    run("python", "-c", IN_ORDER.format(commands), cwd=root, PYTHONPATH=str(root))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my-voc", "my-class-folders", "my-expressions"])
def test_a_labelled_folder_becomes_a_report(project, name):
    """One format of each kind of labels: which of them it was makes no difference from `raw` on (test_formats)."""
    report = project / f"reports/{name}-mini-1shot/s0/report"
    results = io.read_json(report / "metrics.json")

    assert re.search(
        r"\. RFT was stopped at step 1 \(truncated is .*, below 2\); the weights", results["verdict"]["headline"]
    )
    assert "evaluation images" in results["verdict"]["also"][-1]
    assert not {"rare", "common", "frequent"} & {label for _, label in results["columns"]}
    page = (report / "report.html").read_text(encoding="utf-8")
    assert 'class="nothing"' not in page
    assert results["verdict"]["headline"] in (project / f"reports/{name}-mini-1shot/s0/report/summary.md").read_text()
    assert "was stopped at step 1" in (project / f"reports/studies/{name}-mini-1shot/summary.md").read_text()


CONTRACTS = """
import json
from pathlib import Path

from pipelines.checks.contracts import CONTRACTS
from pipelines.checks.validation import validate
from vrft_core.cell import Layout
from vrft_core.stages import STAGES
from vrft_core.tasks import load_params

root = Path(".")
params = load_params(root / "params.yaml")
for cell in params.cells():
    for stage in CONTRACTS if cell.data == "own" else ():
        frames, suites = CONTRACTS[stage](Layout(root), params, cell.at(STAGES[stage]))
        for name, verdict in validate(frames, suites).items():
            print(json.dumps([cell.key, stage, name, verdict.passed, str(verdict.broken)]))
"""


@pytest.mark.slow
def test_its_data_holds_what_the_checks_demand(project):
    said = run("python", "-c", CONTRACTS, cwd=project, PYTHONPATH=f"{project}:{ROOT}")

    verdicts = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    assert len(verdicts) >= 9
    assert [one for one in verdicts if not one[3]] == []
