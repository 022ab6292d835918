"""`vrft evaluate --cell … --presence`: answers that are there are scored as if another protocol had asked."""

import json
import shutil

import pytest
import yaml
from plausible_results import plausible_project, write_rows

from vrft_core import cli, io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.prompts.presence import verified

pytestmark = pytest.mark.slow  # all make the answers of three models

CELL = "lvis-mini-1shot-s0"


def numbers(layout: Layout, presence: str, capsys) -> dict:
    command = ["--root", str(layout.root), "evaluate", "--cell", CELL, "--presence", presence, "--json"]
    assert cli.main(command) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *options: str, root: Layout) -> str:
    assert cli.main(["--root", str(root.root), "evaluate", "--cell", CELL, *options]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Layout:
    """Its models were asked about what is present alone."""
    return plausible_project(tmp_path_factory.mktemp("project"))[0]


def asked_about_absent_things_too(layout: Layout) -> None:
    """Each model also names a box, surer than any other, wherever a category is verified absent."""
    content = yaml.safe_load((layout.root / "params.yaml").read_text())
    content["recipes"]["mini"]["tasks"]["detection"]["presence"] = "self"
    (layout.root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    params = load_params(layout.root / "params.yaml")
    cell = params.parse_cell(CELL)
    truth = Annotations.load(layout.raw(cell) / "annotations.json").split("eval")
    pairs = verified(truth, truth.chosen(params.benchmark(cell).categories))
    for method in ("base", "sft", "rft"):
        rows = io.read_jsonl(layout.evaluation(cell, method) / "predictions.jsonl")
        known = {(row["image_id"], row["category_id"]) for row in rows}
        sure = {name: [1.0] for name in rows[0]["rankings"]}
        invented = {**rows[0], "boxes": [[1.0, 1.0, 60.0, 60.0]], "scores": [1.0], "rankings": sure}
        rows += [
            {**invented, "id": f"{image}-{category}", "image_id": image, "category_id": category}
            for image, category in pairs
            if (image, category) not in known
        ]
        write_rows(layout, params, cell, method, rows)


def test_by_oracle_only_answers_about_present_things_count_and_the_metric_says_so(project, tmp_path, capsys):
    before, more = numbers(project, "oracle", capsys), Layout(tmp_path / "project")
    assert "were not asked in the evaluation" in refused(capsys, "--presence", "self", root=project)

    shutil.copytree(project.root, more.root)
    asked_about_absent_things_too(more)

    found, everything = numbers(more, "oracle", capsys), numbers(more, "self", capsys)
    assert found == before
    assert (found["metric"], everything["metric"]) == ("lvis/oracle/AP", "lvis/self/AP")
    assert everything["questions"] > found["questions"]
    cell = load_params(more.root / "params.yaml").parse_cell(CELL)
    for model in ("base", "sft", "rft"):
        recorded = io.read_json(more.evaluation(cell, model) / "metrics.json")
        ap = everything["models"][model]["lvis/self/AP"]["value"]
        assert ap == pytest.approx(recorded["metrics"]["lvis/self/AP"]["value"])
        assert ap < found["models"][model]["lvis/oracle/AP"]["value"]


def test_it_is_told_in_a_few_lines(project, capsys):
    assert cli.main(["--root", str(project.root), "evaluate", "--cell", CELL, "--presence", "oracle"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("LVIS AP (oracle presence), points of 100, by ")
    assert "RFT − SFT" in said and "no model was asked" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--presence", "all"], "--presence: no 'all' here; give oracle or self"),
        (["--presence", "oracle", "--detections", "x.json"], "--detections, --presence: are there together"),
        (["--presence", "oracle", "--name", "x"], "--detections, --presence: are there together"),
        (["--presence", "oracle", "--split", "eval"], "--split: belongs to --rules"),
        ([], "--detections, --presence: are both missing"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(project, options, said, capsys):
    assert said in refused(capsys, *options, root=project)


def test_a_protocol_needs_a_cell(capsys):
    assert cli.main(["evaluate", "--rules", "lvis", "--presence", "oracle"]) == 2
    assert "--presence: needs --cell" in capsys.readouterr().err
