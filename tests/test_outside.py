"""`vrft evaluate --cell`: another model's answers beside a cell's own models, paired on the same images."""

import json
from pathlib import Path

import pytest
from plausible_results import plausible_project

from vrft_core import cli, io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.commands.evaluate import Outside
from vrft_core.report.panel import Inputs
from vrft_core.report.results import cell_results
from vrft_core.tasks import get_task, load_params

pytestmark = pytest.mark.slow  # all but the last make the answers of four models

CELL, STUDY, METRIC = "lvis-mini-1shot-s0", "lvis-mini-1shot", "lvis/oracle/AP"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Layout:
    """Evaluations of three seeds, and the report of the first in numbers."""
    layout, params = plausible_project(tmp_path_factory.mktemp("project"))
    cell = params.parse_cell(CELL)
    inputs = Inputs.read(layout, params, cell, get_task("detection"))
    io.write_json(layout.report(cell) / "metrics.json", cell_results(layout, params, cell, inputs))
    return layout


@pytest.fixture
def own(project) -> dict[str, Path]:
    cell = load_params(project.root / "params.yaml").parse_cell(CELL)
    return {model: project.evaluation(cell, model) / "predictions.jsonl" for model in ("base", "sft", "rft")}


def evaluate(project: Layout, detections: Path, *options: str, cell: str = CELL) -> int:
    return cli.main(
        ["--root", str(project.root), "evaluate", "--cell", cell, "--detections", str(detections), *options]
    )


def measured(project: Layout, detections: Path, capsys, **more) -> dict:
    assert evaluate(project, detections, "--json", **more) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, status: int) -> str:
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and err.startswith("vrft: ") and err.count("\n") == 1
    return err


def as_detector(rows: list[dict], path: Path, extra: list[dict] | None = None) -> Path:
    """Prediction rows as COCO results, best ranking as the score."""
    found = [
        {
            "image_id": row["image_id"], "category_id": row["category_id"], "score": score,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        }
        for row in rows
        for box, score in zip(row["boxes"], row["rankings"]["certainty"], strict=True)
    ]  # fmt: skip
    path.write_text(json.dumps([*found, *(extra or [])]))
    return path


def test_a_models_own_answers_differ_from_it_by_nothing_and_from_the_others_as_the_report_says(project, own, capsys):
    found = measured(project, own["rft"], capsys)

    report = io.read_json(project.report(load_params(project.root / "params.yaml").parse_cell(CELL)) / "metrics.json")
    assert found["differences"]["rft"][METRIC]["value"] == 0
    for ends in ("value", "low", "high"):
        assert found["metrics"][METRIC][ends] == pytest.approx(report["models"]["rft"][METRIC][ends])
        for model in ("base", "sft"):
            said = report["differences"][f"rft-{model}"][METRIC][ends]
            assert found["differences"][model][METRIC][ends] == pytest.approx(said)
    assert (found["unanswered"], found["left_out"]) == (0, 0)


def test_a_detectors_boxes_count_where_they_answer_a_question(project, own, tmp_path, capsys):
    rows = io.read_jsonl(own["rft"])
    asked = {(row["image_id"], row["category_id"]) for row in rows}
    categories = {category for _, category in asked}
    image = rows[0]["image_id"]
    absent = next(one for one in sorted(categories) if (image, one) not in asked)
    box = {"image_id": image, "bbox": [0, 0, 50, 50], "score": 1.0}
    others = [box | {"category_id": absent}, box | {"category_id": 999_999}, box | {"image_id": 1, "category_id": 1}]

    found = measured(project, as_detector(rows, tmp_path / "found.json", others), capsys)

    assert found["left_out"] == 3
    assert found["differences"]["rft"][METRIC]["value"] == 0


def test_questions_about_images_that_the_file_does_not_mention_are_counted_and_answered_with_nothing(
    project, own, tmp_path, capsys
):
    rows = io.read_jsonl(own["rft"])
    half = sorted({row["image_id"] for row in rows if row["boxes"]})[::2]
    kept = [row for row in rows if row["image_id"] in half]
    empty = [row if row["image_id"] in half else row | {"boxes": [], "rankings": {"certainty": []}} for row in rows]
    io.write_jsonl(tmp_path / "half.jsonl", kept)

    by_question = measured(project, tmp_path / "half.jsonl", capsys)
    by_box = measured(project, as_detector(empty, tmp_path / "half.json"), capsys)

    assert by_question["unanswered"] == by_box["unanswered"] == len(rows) - len(kept)
    assert by_question["metrics"][METRIC] == by_box["metrics"][METRIC]
    assert by_question["metrics"][METRIC]["value"] < by_question["own"]["rft"]
    assert evaluate(project, tmp_path / "half.jsonl") == 0
    said = capsys.readouterr().out
    assert f"{len(rows) - len(kept)} of {len(rows)} questions have no answer" in said


def test_in_a_study_the_interval_covers_the_seeds_of_its_trainings(project, own, capsys):
    one, every = (measured(project, own["sft"], capsys, cell=key) for key in (CELL, STUDY))

    assert every["differences"]["rft"][METRIC]["per_seed"] != one["differences"]["rft"][METRIC]["per_seed"]
    assert len(every["differences"]["rft"][METRIC]["per_seed"]) == 3
    assert every["metrics"][METRIC]["value"] == one["metrics"][METRIC]["value"]
    assert every["metrics"][METRIC]["std"] == 0


def test_what_has_a_name_stands_in_the_overview_until_the_report_is_another(project, own, tmp_path, capsys):
    assert evaluate(project, own["sft"], "--name", "tuned <b>detector</b>") == 0
    out = capsys.readouterr().out
    assert "− RFT" in out and out.endswith(f"Next: vrft overview {CELL}\n")
    show = ["--root", str(project.root), "overview", CELL, "--out", str(tmp_path / "page.html")]

    assert cli.main(show) == 0
    page = (tmp_path / "page.html").read_text()
    assert "tuned &lt;b&gt;detector&lt;/b&gt;" in page and "<b>" not in page
    assert "Models from outside this project" in page and "measured beside other results" not in page

    report = project.report(load_params(project.root / "params.yaml").parse_cell(CELL)) / "metrics.json"
    before = report.read_text()
    changed = json.loads(before)
    changed["models"]["rft"][METRIC]["value"] += 0.01
    io.write_json(report, changed)
    assert cli.main(show) == 0
    report.write_text(before)
    page = (tmp_path / "page.html").read_text()
    assert "Models from outside this project" not in page and "measured beside other results" in page


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"image_id": 5, "category_id": 5, "bbox": [1, 2, 3, 4], "score": 1}]', "answers none of the cell's"),
        ('{"image_id": 5, "category_id": 5, "boxes": [[5, 5, 1, 1]], "scores": [1]}\n' * 2, "row 1: is not an answer"),
        ('{"image_id": 5, "boxes": [], "scores": []}\n' * 2, "it needs image_id, category_id, boxes"),
        ("half a file", "not valid JSON"),
    ],
)
def test_a_file_that_cannot_be_measured_is_refused_in_one_line(project, tmp_path, content, said, capsys):
    (tmp_path / "found.json").write_text(content)
    assert said in refused(capsys, evaluate(project, tmp_path / "found.json", "--name", "x"))
    assert not (project.root / "reports/outside" / CELL / "x.json").exists()


def test_two_answers_to_a_question_and_images_numbered_anew_are_refused(project, own, tmp_path, capsys):
    rows = io.read_jsonl(own["rft"])
    io.write_jsonl(tmp_path / "twice.jsonl", [*rows, rows[3]])
    assert "answers a question that was answered before" in refused(capsys, evaluate(project, tmp_path / "twice.jsonl"))
    io.write_jsonl(tmp_path / "anew.jsonl", [row | {"file_name": "eval/other.png"} for row in rows])
    assert "has the id of" in refused(capsys, evaluate(project, tmp_path / "anew.jsonl"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rules", "coco"], "--rules: belongs to --rules"),
        (["--split", "eval"], "--split: belongs to --rules"),
        (["--ranked-by", "certainty"], "--ranked-by: belongs to --rules"),
        (["--name", "\n"], "cannot be shown"),
    ],
)
def test_options_of_the_other_way_to_measure_are_refused(project, own, options, said, capsys):
    assert said in refused(capsys, evaluate(project, own["sft"], *options))


def test_a_name_needs_a_cell_and_something_must_be_measured(project, capsys):
    assert "--name: needs --cell" in refused(capsys, cli.main(["evaluate", "--rules", "coco", "--name", "x"]))
    assert "--rules, --cell: are missing" in refused(capsys, cli.main(["evaluate"]))
    assert "--detections, --presence: are both missing" in refused(
        capsys, cli.main(["--root", str(project.root), "evaluate", "--cell", CELL])
    )


def test_a_cell_whose_own_models_were_not_evaluated_is_run_first(project, own, tmp_path, capsys):
    (tmp_path / "params.yaml").write_text((project.root / "params.yaml").read_text())

    assert f"vrft run {CELL}" in refused(capsys, evaluate(Layout(tmp_path), own["sft"]))


IMAGES = {
    "images": [{"id": 1, "width": 9, "height": 9, "file_name": "a.png"}],
    "annotations": [], "categories": [{"id": 3, "name": "cat"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "question", "given", "answer", "nothing"),
    [
        (
            "classification", {"id": "1-3"}, {"image_id": 1, "said": "cat"},
            {"said": "cat", "published": "cat"}, {"said": "", "published": ""},
        ),
        (
            "grounding", {"id": "1-3", "annotation_id": 7, "expression": "the cat"},
            {"annotation_id": 7, "box": [1, 2, 3, 4]},
            {"box": [1, 2, 3, 4], "says_none": False}, {"box": None, "says_none": False},
        ),
    ],
)  # fmt: skip
def test_other_tasks_take_lines_with_the_ids_of_their_annotations(task, question, given, answer, nothing, tmp_path):
    asked = [question | {"image_id": 1, "category_id": 3}]
    more = [question | {"image_id": 1, "category_id": 3, "annotation_id": 8}, *asked]
    truth, file = Annotations.from_dict(IMAGES), tmp_path / "found.jsonl"
    io.write_jsonl(file, [given])

    found = get_task(task).commands.outside(file, asked, truth, None)
    assert found == Outside([asked[0] | answer], unanswered=0, left_out=0)
    if task == "grounding":
        found = get_task(task).commands.outside(file, more, truth, None)
        assert (found.rows[0], found.unanswered) == (more[0] | nothing, 1)
