"""`vrft evaluate`: files in, numbers out, and one line for anything that is wrong with the files."""

import json
from pathlib import Path

import pytest
from detection_sets import pycocotools_numbers, random_set

from vrft_core.cli import main

FIXTURES = Path(__file__).parents[2] / "shared/data/fixtures"
needs_fixtures = pytest.mark.skipif(not FIXTURES.exists(), reason="evaluation fixtures are not beside this checkout")


@pytest.fixture
def files(tmp_path):
    """Write ground truth and detections; → paths and contents."""
    ground_truth, detections = random_set(0)
    return tmp_path, ground_truth, detections


def evaluate(directory: Path, ground_truth: object, detections: object, *options: str, protocol: str = "coco") -> int:
    for name, content in (("gt.json", ground_truth), ("dt.json", detections)):
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))
    paths = ["--ground-truth", str(directory / "gt.json"), "--detections", str(directory / "dt.json")]
    return main(["evaluate", "--rules", protocol, *paths, *options])


def refused(capsys, status: int) -> str:
    """The one line on standard error."""
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("vrft: ") and err.count("\n") == 1
    return err


def test_coco_json_holds_the_family_and_ap_per_category_name(files, capsys):
    directory, ground_truth, detections = files
    assert evaluate(directory, ground_truth, detections, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    theirs = pycocotools_numbers(ground_truth, detections)
    per_category = theirs.pop("per_category")
    assert {k: v for k, v in result.items() if k != "per_category"} == pytest.approx(theirs, abs=1e-12)
    assert list(result["per_category"]) == [f"thing {k}" for k in range(6)]
    assert result["per_category"]["thing 0"] == pytest.approx(per_category[1], abs=1e-12)
    assert result["per_category"]["thing 5"] is None  # no object


def test_lvis_json_has_the_names_of_lvis_api_and_needs_no_iscrowd(files, capsys):
    directory, ground_truth, detections = files
    for row in ground_truth["annotations"]:
        del row["iscrowd"]
    assert evaluate(directory, ground_truth, detections, "--json", protocol="lvis") == 0
    names = {"AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"}
    assert set(json.loads(capsys.readouterr().out)) == names | {
        "AR@300",
        "ARs@300",
        "ARm@300",
        "ARl@300",
        "per_category",
    }


def test_the_published_number_stands_apart_and_changes_nothing_else(files, capsys):
    directory, ground_truth, detections = files
    evaluate(directory, ground_truth, detections, "--json", protocol="lvis")
    plain = json.loads(capsys.readouterr().out)
    evaluate(directory, ground_truth, detections, "--json", "--published-lvis", protocol="lvis")
    result = json.loads(capsys.readouterr().out)
    published = result.pop("published_lvis")
    assert result == plain
    assert published["AP"] != plain["AP"]
    assert set(published["per_category"]) == set(plain["per_category"])


def test_categories_restrict_the_evaluation(files, capsys):
    directory, ground_truth, detections = files
    assert evaluate(directory, ground_truth, detections, "--json", "--categories", "thing 1", "thing 3") == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["per_category"]) == ["thing 1", "thing 3"]
    assert result["AP"] == pytest.approx(sum(result["per_category"].values()) / 2)


def test_the_table_says_what_was_measured_and_what_was_left_out(files, capsys):
    directory, ground_truth, detections = files
    stray = detections[0] | {"category_id": 99}
    assert evaluate(directory, ground_truth, [*detections, stray]) == 0
    out = capsys.readouterr().out
    assert f"12 images, {len(ground_truth['annotations'])} objects, {len(detections) + 1} detections" in out
    assert "1 detections are of categories that the ground truth does not have" in out
    assert "AP50" in out and "thing 0" in out
    assert "thing 5" not in out and "1 categories without an object" in out


@needs_fixtures
def test_the_lvis_fixture_gives_its_known_numbers_through_the_command(capsys):
    expected = json.loads((FIXTURES / "lvis_val_100_expected.json").read_text())
    paths = [str(FIXTURES / expected[key]) for key in ("ground_truth", "detections")]
    status = main(["evaluate", "--rules", "lvis", "--ground-truth", paths[0], "--detections", paths[1], "--json"])
    result = json.loads(capsys.readouterr().out)
    assert status == 0
    assert {k: result[k] for k in expected["results"]} == pytest.approx(expected["results"], abs=1e-9)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"score": float("nan")}, "row 1: 'score' is not finite"),
        ({"score": "0.5"}, "row 1: 'score' is '0.5'; it must be a number"),
        ({"score": True}, "row 1: 'score' is 'True'; it must be a number"),
        ({"bbox": [1, 2, 3]}, "row 1: 'bbox' is '[1, 2, 3]'; it must be a list of 4 numbers"),
        ({"bbox": [1, 2, 3, None]}, "row 1: 'bbox' is '[1, 2, 3, None]'; it must be a list of 4 numbers"),
        ({"bbox": [1, 2, float("inf"), 4]}, "row 1: 'bbox' is not finite"),
        ({"bbox": [50, 50, -10, 10]}, "row 1: bbox has a negative width or height"),
        ({"bbox": "1234"}, "row 1: 'bbox' is '1234'; it must be a list of 4 numbers"),
        ({"image_id": 7}, "row 1: image_id 7 is not among the images of the ground truth"),
        ({"image_id": 100.0}, "row 1: 'image_id' is '100.0'; it must be an integer"),
        ({"image_id": 2**70}, "'image_id' holds numbers out of range"),
        ({"category_id": None}, "row 1: 'category_id' is 'None'; it must be an integer"),
    ],
)
def test_a_broken_detection_is_named_by_row_and_field(files, capsys, change, line):
    directory, ground_truth, detections = files
    detections[1] |= change
    assert f"dt.json: {line}" in refused(capsys, evaluate(directory, ground_truth, detections))


@pytest.mark.parametrize("field", ["image_id", "category_id", "bbox", "score"])
def test_a_missing_field_of_a_detection_is_named(files, capsys, field):
    directory, ground_truth, detections = files
    del detections[2][field]
    assert f"dt.json: row 2: '{field}' is missing" in refused(capsys, evaluate(directory, ground_truth, detections))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"annotations": []}, "not a list of detections"),
        ("[{}]", "row 0: 'image_id' is missing"),
        ("[1]", "row 0: not an object"),
        ('[{"image_id": 1, "categ', "not valid JSON"),
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("null", "not a list of detections"),
    ],
)
def test_a_detections_file_of_another_kind_is_refused(files, capsys, content, line):
    directory, ground_truth, _ = files
    assert f"dt.json: {line}" in refused(capsys, evaluate(directory, ground_truth, content))


@pytest.mark.parametrize(
    ("table", "change", "line"),
    [
        ("images", {"id": None}, "images: row 0: 'id' is 'None'"),
        ("images", {"id": 103}, "images: id 103 occurs twice"),
        ("categories", {"id": 4}, "categories: id 4 occurs twice"),
        ("annotations", {"image_id": 7}, "annotations: row 0: image_id 7 is not among the images"),
        ("annotations", {"category_id": 2}, "annotations: row 0: category_id 2 is not among the categories"),
        ("annotations", {"area": None}, "annotations: row 0: 'area' is 'None'; it must be a number"),
        ("annotations", {"id": 2}, "annotations: id 2 occurs twice"),
    ],
)
def test_broken_ground_truth_is_named_by_table_and_row(files, capsys, table, change, line):
    directory, ground_truth, detections = files
    if change == {"id": 103} and ground_truth["images"][0]["id"] == 103:
        ground_truth["images"].reverse()
    ground_truth[table][0] |= change
    assert f"gt.json: {line}" in refused(capsys, evaluate(directory, ground_truth, detections))


@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
def test_ground_truth_without_a_table_is_refused(files, capsys, table):
    directory, ground_truth, detections = files
    del ground_truth[table]
    assert f"gt.json: has no list '{table}'" in refused(capsys, evaluate(directory, ground_truth, detections))


def test_swapped_files_are_refused(files, capsys):
    directory, ground_truth, detections = files
    assert "is it a detections file?" in refused(capsys, evaluate(directory, detections, ground_truth))


@pytest.mark.parametrize("field", ["neg_category_ids", "not_exhaustive_category_ids"])
@pytest.mark.parametrize("value", [None, "1", [1, "2"]])
def test_lvis_refuses_ground_truth_without_its_image_fields(files, capsys, field, value):
    directory, ground_truth, detections = files
    ground_truth["images"][0][field] = value
    assert f"has no '{field}'" in refused(capsys, evaluate(directory, ground_truth, detections, protocol="lvis"))


@pytest.mark.parametrize("value", [None, "x", ["r"]])
def test_lvis_refuses_categories_without_a_frequency(files, capsys, value):
    directory, ground_truth, detections = files
    ground_truth["categories"][0]["frequency"] = value
    line = refused(capsys, evaluate(directory, ground_truth, detections, protocol="lvis"))
    assert "categories: id 1: has no 'frequency'" in line


def test_an_unknown_category_name_is_refused_with_the_nearest_ones(files, capsys):
    directory, ground_truth, detections = files
    line = refused(capsys, evaluate(directory, ground_truth, detections, "--categories", "think 1"))
    assert "no category 'think 1'; is it thing 1" in line


def test_the_published_number_belongs_to_lvis_only(files, capsys):
    directory, ground_truth, detections = files
    assert "--rules lvis" in refused(capsys, evaluate(directory, ground_truth, detections, "--published-lvis"))


def test_a_missing_file_is_named(tmp_path, capsys):
    options = ["--ground-truth", str(tmp_path / "none.json"), "--detections", str(tmp_path / "none.json")]
    assert "none.json: no such file" in refused(capsys, main(["evaluate", "--rules", "coco", *options]))


def test_no_detections_at_all_is_an_average_precision_of_zero(files, capsys):
    directory, ground_truth, _ = files
    assert evaluate(directory, ground_truth, [], "--json") == 0
    assert json.loads(capsys.readouterr().out)["AP"] == 0


# Answers instead of detections: classification and grounding


def evaluate_log(directory: Path, rows: list[dict], protocol: str, *options: str) -> int:
    log = directory / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return main(["evaluate", "--rules", protocol, "--answers", str(log), *options])


def said(content: str, solution: str, **more) -> dict:
    return {
        "completion": f"<think>x</think><answer>{content}</answer>",
        "solution": f"<answer>{solution}</answer>",
    } | more


def test_classification_gives_strict_and_published_accuracy_with_intervals_and_confusions(tmp_path, capsys):
    rows = [said("hot dog", "hot dog"), said("dog", "hot dog"), said("", "hot dog"), said("frankfurter", "hot dog")]
    rows[3]["names"] = ["hot dog", "frankfurter"]
    assert evaluate_log(tmp_path, rows, "classification", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {name: entry["value"] for name, entry in result["metrics"].items()} == {
        "accuracy/strict": 0.5,
        "accuracy/lenient": 0.75,
    }
    assert 0 <= result["metrics"]["accuracy/strict"]["low"] < 0.5 < result["metrics"]["accuracy/strict"]["high"] <= 1
    assert result["confusions"][1] == {"true": "hot dog", "said": "dog", "count": 1, "lenient": True}
    assert evaluate_log(tmp_path, rows, "classification") == 0
    assert "hot dog → dog *" in capsys.readouterr().out


def test_grounding_gives_overlap_of_boxes_and_what_the_published_evaluation_reads(tmp_path, capsys):
    rows = [
        said("(0,0),(10,10)", "(0,0),(10,10)"),
        said("(0,0),(10,5)", "(0,0),(10,10)"),
        said("[0, 0, 10, 10]", "(0,0),(10,10)"),
        said("(10,10),(0,0)", "(0,0),(10,10)"),
    ]
    assert evaluate_log(tmp_path, rows, "grounding", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {name: entry["value"] for name, entry in result["metrics"].items()} == {
        "box/mIoU": pytest.approx(2.5 / 4),
        "box/cIoU": pytest.approx(250 / 400),
        "published/mIoU": pytest.approx((1e-4 / (1e-4 + 1e-6) + 0.5e-4 / (1e-4 + 1e-6)) / 4),  # a small box's loss
    }


def test_grounding_counts_masks_by_lisas_rules_and_by_the_published_ones(tmp_path, capsys):
    whole, left, right = ({"size": [2, 4], "counts": counts} for counts in ([0, 8], [0, 4, 4], [4, 4]))
    rows = [said("(0,0),(9,9)", "(0,0),(9,9)", mask=whole, target=left, ignore=right)]
    assert evaluate_log(tmp_path, rows, "grounding", "--json") == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert (metrics["mask/cIoU"]["value"], metrics["published/cIoU"]["value"]) == (1, 0.5)
    assert metrics["mask/gIoU"]["value"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "masks",
    [{"target": "abc"}, {"target": {"size": [2, 4], "counts": [9]}}, {"target": {"size": [1, 1], "counts": "12"}}],
)
def test_a_mask_that_is_none_is_named_by_its_row(tmp_path, capsys, masks):
    rows = [said("(0,0),(9,9)", "(0,0),(9,9)", **masks)]
    assert "log.jsonl:1: its masks cannot be used" in refused(capsys, evaluate_log(tmp_path, rows, "grounding"))


def test_solutions_without_a_box_are_measured_by_what_was_rejected_alone(tmp_path, capsys):
    nothing, box = "No Objects", "[{'Position': [0, 0, 10, 10]}]"
    rows = [said(box, box), said(nothing, box), said(nothing, nothing), said(nothing, nothing), said(box, nothing)]
    assert evaluate_log(tmp_path, rows, "grounding", "--json") == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert {name: entry["value"] for name, entry in metrics.items()} == {
        "box/mIoU": pytest.approx(0.5),
        "box/cIoU": pytest.approx(0.5),
        "published/mIoU": 0.0,  # it reads no list
        "rejection/accuracy": pytest.approx(2 / 3),
    }
    assert evaluate_log(tmp_path, rows[2:], "grounding", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["metrics"]) == ["rejection/accuracy"]
    assert evaluate_log(tmp_path, [], "grounding", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["box/mIoU"]["value"] is None


def test_each_protocol_names_the_files_it_needs(tmp_path, capsys):
    assert "--answers" in refused(capsys, main(["evaluate", "--rules", "grounding"]))
    assert "--ground-truth" in refused(capsys, main(["evaluate", "--rules", "coco"]))
    assert "`solution` cannot be used" in refused(capsys, evaluate_log(tmp_path, [said("a", "left")], "grounding"))


def test_a_log_without_answers_has_no_accuracy(tmp_path, capsys):
    assert evaluate_log(tmp_path, [], "classification", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy/strict"]["value"] is None
