"""Faults that a careful check found: what users' files and model answers may hold, and what must come of it."""

import json
import time

import pytest
from detection_sets import random_set

from vrft_core import __version__, io
from vrft_core.cli import main
from vrft_core.errors import InputError
from vrft_core.tasks import published
from vrft_core.tasks.classification import rewards as classification
from vrft_core.tasks.classification.metrics.accuracy import judge
from vrft_core.tasks.detection.answers import MAX_REJECTION, parse
from vrft_core.tasks.detection.metrics.average_precision import summary
from vrft_core.tasks.detection.metrics.matching import match
from vrft_core.tasks.grounding.metrics.overlap import published_box, published_ious

# --- reading and writing lines of JSON -------------------------------------------------------------------------------

SEPARATORS = ["\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\r"]


@pytest.mark.parametrize("character", SEPARATORS)
def test_a_character_that_some_readers_take_for_a_line_end_is_read_back(tmp_path, character):
    rows = [{"completion": f"a{character}b"}, {"completion": "c"}]
    io.write_jsonl(tmp_path / "a.jsonl", rows)
    assert io.read_jsonl(tmp_path / "a.jsonl") == rows
    assert len((tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_such_a_character_written_raw_by_another_tool_is_read_too(tmp_path, character):
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": character}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert io.read_jsonl(tmp_path / "a.jsonl") == [{"a": character}]


def test_half_a_surrogate_pair_is_written_and_read_back(tmp_path):
    io.write_jsonl(tmp_path / "a.jsonl", [{"completion": "\ud83d"}])
    io.write_json(tmp_path / "a.json", {"completion": "\udc00 猫"})
    assert io.read_jsonl(tmp_path / "a.jsonl") == [{"completion": "\ud83d"}]
    assert io.read_json(tmp_path / "a.json") == {"completion": "\udc00 猫"}
    assert "猫" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "9" * 10_000 + "}", "[1]", '{"a"'])
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl:2: not "):
        io.read_jsonl(tmp_path / "a.jsonl")


def test_a_byte_order_mark_is_skipped_by_every_reader(tmp_path, capsys):
    row = {"completion": "<answer>dog</answer>", "solution": "<answer>dog</answer>"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n", encoding="utf-8-sig")
    assert io.read_jsonl(tmp_path / "a.jsonl") == [row, row]
    (tmp_path / "a.json").write_text("[]", encoding="utf-8-sig")
    assert io.read_json(tmp_path / "a.json") == []
    assert main(["score", str(tmp_path / "a.jsonl"), "--task", "classification"]) == 0
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "gt.json").write_text(json.dumps(truth), encoding="utf-8-sig")
    paths = ["--ground-truth", str(tmp_path / "gt.json"), "--detections", str(tmp_path / "a.json")]
    assert main(["evaluate", "--rules", "coco", *paths]) == 0
    assert capsys.readouterr().err == ""


# --- files of another kind -------------------------------------------------------------------------------------------

KINDS = {
    "labels.txt": (b"0 0.5 0.5 0.25 0.125\n3 .1 0.2 1e-2 0.3\n", "YOLO labels"),
    "segments.txt": (b"0 0.5 0.5 0.25 0.125 0.3 0.4\n", "YOLO labels"),
    "a.xml": (b"<annotation><object><bndbox/></object></annotation>", "Pascal VOC XML"),
    "boxes.csv": (b"image,x1,y1,x2,y2,label\na.jpg,1,2,3,4,cat\n", "a CSV table"),
    "boxes.tsv": (b"image\tlabel\na.jpg\tcat\n", "a table with tabs"),
    "annotations.zip": (b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xe9", "a zip archive"),
    "windows.json": ("[]".encode("utf-16"), "text in UTF-16"),
    "data.yaml": (b"train: images/train\nnames:\n  0: cat\n", "YAML"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_another_kind_is_called_what_it_seems_to_be(tmp_path, capsys, name):
    content, kind = KINDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    good = tmp_path / "good.json"
    good.write_text('{"images": [], "annotations": [], "categories": []}')
    for command in (
        ["evaluate", "--rules", "coco", "--ground-truth", str(path), "--detections", str(good)],
        ["evaluate", "--rules", "coco", "--ground-truth", str(good), "--detections", str(path)],
        ["score", str(path), "--task", "detection"],
        ["predict", "--model", "m", "--images", str(tmp_path), "--annotations", str(path), "--output", "o"],
    ):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert f"{name}: is no" in err and f"it seems to be {kind}" in err and "; give " in err and err.count("\n") == 1


@pytest.mark.parametrize("content", ['{"images": [', "[[", "", "{'single': 'quotes'}"])
def test_broken_json_is_still_called_broken_json(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json: not valid JSON at line 1"):
        io.read_json(tmp_path / "a.json")


def test_what_a_file_seems_to_be_is_told_in_linear_time(tmp_path):
    (tmp_path / "a.txt").write_text("0 " * 200_000 + "x\n" + "1" * 200_000)
    with pytest.raises(InputError):
        io.read_json(tmp_path / "a.txt")


# --- names of classes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "truth", "right"),
    [
        ("12", "An-12", False),
        ("10", "A-10", False),
        ("12", "An_12", False),
        ("An 12", "An-12", True),
        ("an-12", "An-12", True),
        ("A 10", "A-10", True),
        ("A - 10", "10", False),
        ("a dog", "dog", True),
        ("The hot-dog.", "hot dog", True),
        ("dog", "the dog", True),
        ("", "a", False),
        ("a", "a", True),
    ],
)
def test_an_article_is_dropped_only_where_white_space_followed_it(said, truth, right):
    completion = f"<think>x</think><answer>{said}</answer>"
    assert classification.get("accuracy")(classification.read(completion), truth) == float(right)
    assert judge(completion, truth)[2] is right


# --- 'No Objects' in prose -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "There are no objects belonging to the category 'cat' in the image.",
        "There is no object belonging to the category 'No Entry, not here' in the image.",
        "No objects found.",
        "no object",
        "**No Objects**",
        "['No Objects']",
        "The answer is 'No Objects'.",
        "Final answer: No Objects",
        "No, there are no objects of this kind.",
        "In the image, there are no objects of this kind, so the answer is 'No Objects'.",
        "The image shows a street.\nNo Objects",
        "I see no objects like that here",
        "There's no object to detect!",
        "No objects belonging to the category are visible.",
    ],
)
def test_a_clear_statement_that_nothing_is_there_counts(text):
    parsed = parse(f"<answer>{text}</answer>")
    assert parsed.says_none and not parsed.detections


@pytest.mark.parametrize(
    "text",
    [
        "It is not true that there are no objects",
        "I cannot say that there are no objects.",
        "There are no objects? There are three.",
        "There are no objects other than two cats.",
        "No objects but one.",
        "No objects are missing.",
        "No object of this kind is missing.",
        "There are no objects. That is false.",
        "There are no objects, except at the left.",
        "If no object belonging to the category 'cat' in the image, return 'No Objects'.",
        "Whether there are no objects is hard to tell",
        "There are two cats and no objects of other kinds",
        "It isn't so. There are no objects.",
        "no objection",
        "There are no objects of this kind. " + "x" * MAX_REJECTION,
    ],
)
def test_a_statement_that_may_mean_the_contrary_does_not_count(text):
    parsed = parse(f"<answer>{text}</answer>")
    assert not parsed.says_none and "unparsable" in parsed.reasons


# --- the published functions, white space and digits included --------------------------------------------------------

TRUTH = "<answer>(451,135),(539,838)</answer>"


@pytest.mark.parametrize(
    ("said", "truth", "value"),
    [
        ("(451 , 135) ,(539 , 838)", TRUTH, 2.0),  # read, though not the same text
        ("( 451,135 ),\n(539,\t838 )", TRUTH, 2.0),
        ("(٤٥١,135),(539,838)", TRUTH, 2.0),
        ("(4 , 135) ,(539 , 838)", "<answer>(451 , 135) ,(539 , 838)</answer>", 1.0),  # both are the number 838
        ("(4 , 135) ,(539 , 838)", "<answer>(451, 135), (539, 838)</answer>", None),  # 838 and 135: GIoU
        (
            "(4, ١٣٥), (539, 838)",
            "<answer>(451, 135), (539, 838)</answer>",
            None,
        ),  # the number's digits stop the library
        ("(451;135),(539;838)", TRUTH, 0.0),
    ],
)
def test_published_grounding_reads_what_the_published_code_reads(said, truth, value):
    """Values as the published function, run with math-verify 0.6.0, gave them; None: GIoU + 1."""
    giou = 88 * 703 / (535 * 703) + 1
    reward = published.giou(f"<think>x</think><answer>{said}</answer>", truth)
    assert reward == pytest.approx(giou if value is None else value, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "answer" + " 1." * 300_000,
        "answer 1)" + " " * 1_000_000 + "x",
        "answer 1) 1) " * 80_000,
        "answer " + "(1) " * 250_000,
    ],
)
def test_the_published_number_is_found_in_linear_time(text):
    start = time.process_time()
    published.same_number(text, "1")
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("(451 , 135) ,(539 , 838)", (451, 135, 539, 838)),
        ("( 451,135 )\n,(539,838)", (451, 135, 539, 838)),
        ("(٤٥١,١٣٥),(539,838)", (451, 135, 539, 838)),
        ("(9999999999,1),(99999999999,2) (1,2),(3,4)", (9999999999, 1, 99999999999, 2)),  # the first, however large
        (f"({'9' * 5000},1),(3,2)", None),
        (f"({'9' * 400},1),({'9' * 401},2)", None),
        ("(1,2);(3,4)", None),
    ],
)
def test_the_published_evaluation_reads_the_same_boxes(text, box):
    assert published_box(text) == box


def test_the_published_iou_stays_below_one():
    one = published_ious(["(451,135),(539,838)", "none"], [(451, 135, 539, 838)] * 2, [(1000, 1000)] * 2)
    area = 88 * 703 / 1e6
    assert one.tolist() == pytest.approx([area / (area + 1e-6), 0])


# --- LVIS: what has no area ------------------------------------------------------------------------------------------


def flattened(seed: int) -> tuple[dict, list[dict]]:
    """A random set in which some boxes and some areas are zero."""
    truth, detections = random_set(seed)
    for number, row in enumerate(truth["annotations"]):
        row["iscrowd"] = 0
        if number % 4 == 0:
            row["bbox"][2 + number % 8 // 4] = 0
            row["area"] = 0.0
        elif number % 7 == 0:
            row["area"] = 0.0  # the area counts, not the box
    for row in detections[::5]:
        row["bbox"][3] = 0.0
    return truth, detections


@pytest.mark.parametrize(
    ("seed", "numbers"),
    [
        (0, (0.20129704441, 0.257484866134, 0.399075907591, 0.228048679868, 0.103118811881)),
        (1, (0.109377337734, 0.16798679868, 0.077227722772, 0.0, 0.105374037404)),
        (2, (0.232094960045, 0.260631777463, 0.110891089109, 0.189415370108, 0.244578029231)),
        (3, (0.158434389795, 0.190993907083, 0.241320132013, 0.134455445545, 0.254350166798)),
    ],
)
def test_lvis_leaves_out_what_has_no_area_as_lvis_api_does(seed, numbers):
    """The numbers are those of lvis-api 0.5.3; hotcoco counts such boxes and gives others."""
    found = summary(match(*flattened(seed), "lvis"))
    assert [found[name] for name in ("AP", "AP50", "APs", "APr", "APf")] == pytest.approx(numbers, abs=1e-11)


def test_an_object_without_area_is_neither_missed_nor_verifies_its_category():
    """The numbers are those of lvis-api 0.5.3 on these rows."""
    truth = {
        "images": [{"id": 1, "width": 99, "height": 99, "neg_category_ids": [], "not_exhaustive_category_ids": []},
                   {"id": 2, "width": 99, "height": 99, "neg_category_ids": [], "not_exhaustive_category_ids": []}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81},
                        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 9], "area": 0},
                        {"id": 3, "image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 0], "area": 0}],
        "categories": [{"id": 1, "name": "cat", "frequency": "r"}],
    }  # fmt: skip
    wrong_in_2 = {"image_id": 2, "category_id": 1, "bbox": [50, 50, 9, 9], "score": 0.9}
    flat_in_1 = {"image_id": 1, "category_id": 1, "bbox": [50, 50, 0, 9], "score": 0.8}
    right_in_1 = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.7}
    assert summary(match(truth, [wrong_in_2, flat_in_1, right_in_1], "lvis"))["AP"] == pytest.approx(1)


# --- ground truth that is wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "change", "said"),
    [
        ("coco", {"bbox": [5, 5, -3, 4]}, "row 1: bbox has a negative width or height"),
        ("lvis", {"bbox": [5, 5, 3, -4]}, "row 1: bbox has a negative width or height"),
        ("coco", {"area": -1}, "row 1: 'area' is -1; it must not be negative"),
        ("coco", {"iscrowd": "0"}, "row 1: 'iscrowd' is '0'; it must be 0 or 1"),
        ("coco", {"iscrowd": "false"}, "row 1: 'iscrowd' is 'false'; it must be 0 or 1"),
        ("coco", {"iscrowd": None}, "row 1: 'iscrowd' is 'None'; it must be 0 or 1"),
        ("coco", {"iscrowd": [1]}, "row 1: 'iscrowd' is '[1]'; it must be 0 or 1"),
        ("coco", {"iscrowd": 2}, "row 1: 'iscrowd' is '2'; it must be 0 or 1"),
        ("lvis", {"ignore": "no"}, "row 1: 'ignore' is 'no'; it must be 0 or 1"),
    ],
)
def test_ground_truth_with_impossible_values_is_refused_by_row(tmp_path, capsys, protocol, change, said):
    truth, detections = random_set(0)
    truth["annotations"][1] |= change
    assert evaluate(tmp_path, truth, detections, "--rules", protocol) == 2
    err = capsys.readouterr().err
    assert f"gt.json: annotations: {said}" in err and err.count("\n") == 1


def evaluate(folder, truth: dict, detections: list[dict], *options: str) -> int:
    io.write_json(folder / "gt.json", truth)
    (io.write_jsonl if "boxes" in detections[0] else io.write_json)(folder / "dt.json", detections)
    paths = ["--ground-truth", str(folder / "gt.json"), "--detections", str(folder / "dt.json")]
    return main(["evaluate", *paths, *options])


# --- one split of a project's own annotations ------------------------------------------------------------------------


@pytest.fixture
def splits() -> tuple[dict, list[dict]]:
    """Four images of one cat each, two of them for evaluation; rows of `vrft predict` that find all it is asked."""
    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat", "frequency": "r"}]}
    rows = []
    for number, split in enumerate(("train", "val", "eval", "eval"), 1):
        truth["images"].append({"id": number, "width": 99, "height": 99, "split": split, "file_name": f"{number}.png",
                                "neg_category_ids": [], "not_exhaustive_category_ids": []})  # fmt: skip
        box = {"bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
        truth["annotations"].append({"id": number, "image_id": number, "category_id": 1, **box})
        if split == "eval":
            rows.append({"image_id": number, "category_id": 1, "boxes": [[10, 10, 30, 30]], "scores": [1.0]})
    return truth, rows


@pytest.mark.parametrize("protocol", ["coco", "lvis"])
def test_a_projects_own_files_are_evaluated_on_the_one_split_that_was_predicted(tmp_path, capsys, splits, protocol):
    truth, rows = splits
    assert evaluate(tmp_path, truth, rows, "--rules", protocol) == 0
    out = capsys.readouterr().out
    assert "split eval alone: all detections are of it; --split takes another" in out
    assert "2 images, 2 objects, 2 detections" in out and "missed" not in out
    assert evaluate(tmp_path, truth, rows, "--rules", protocol, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["AP"], found["split"]) == (pytest.approx(1), "eval")


def test_a_split_is_chosen_by_name_and_detections_elsewhere_are_left_out(tmp_path, capsys, splits):
    truth, rows = splits
    rows.append({"image_id": 1, "category_id": 1, "boxes": [[0, 0, 5, 5]], "scores": [1.0]})
    common = ["--rules", "coco", "--json"]
    assert evaluate(tmp_path, truth, rows, *common, "--split", "eval") == 0
    assert json.loads(capsys.readouterr().out)["AP"] == pytest.approx(1)
    assert evaluate(tmp_path, truth, rows, "--rules", "coco", "--split", "eval") == 0
    assert "1 detections are of other splits: left out" in capsys.readouterr().out
    assert evaluate(tmp_path, truth, rows, *common) == 0  # of two splits: all images
    found = json.loads(capsys.readouterr().out)
    assert "split" not in found and found["AP"] < 0.6
    assert evaluate(tmp_path, truth, rows, *common, "--split", "test") == 2
    assert "no split 'test'; known: eval, train, val" in capsys.readouterr().err
    plain, detections = random_set(0)
    assert evaluate(tmp_path, plain, detections, *common, "--split", "eval") == 2
    assert "carry no field `split`" in capsys.readouterr().err


def test_images_that_nobody_answered_for_are_counted_aloud(tmp_path, capsys, splits):
    truth, rows = splits
    assert evaluate(tmp_path, truth, rows[:1], "--rules", "coco") == 0
    assert "1 images with objects have no answer: all missed" in capsys.readouterr().out
    nothing = rows[1] | {"boxes": [], "scores": []}  # asked, and answered with no box
    assert evaluate(tmp_path, truth, [rows[0], nothing], "--rules", "coco", "--json") == 0
    assert "unanswered_images" not in json.loads(capsys.readouterr().out)
    assert evaluate(tmp_path, truth, rows[:1], "--rules", "coco", "--json") == 0
    assert json.loads(capsys.readouterr().out)["unanswered_images"] == 1


@pytest.mark.parametrize("image_id", ["1", [1], None, True, 2**70])
def test_a_row_of_predict_with_an_impossible_image_is_named(tmp_path, capsys, splits, image_id):
    truth, rows = splits
    assert (
        evaluate(tmp_path, truth, [rows[0] | {"image_id": image_id, "boxes": [], "scores": []}], "--rules", "coco") == 2
    )
    assert "row 1: is not one of `vrft predict`" in capsys.readouterr().err


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vrft {__version__}\n"
