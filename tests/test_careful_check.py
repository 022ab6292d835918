"""Faults that a careful check found: what users' files and model answers may hold, and what must come of it."""

import json

import pytest

from vrft_core import io, rewards
from vrft_core.cli import main
from vrft_core.errors import InputError
from vrft_core.evaluation.accuracy import judge

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
    assert main(["evaluate", "--protocol", "coco", *paths]) == 0
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
        ["evaluate", "--protocol", "coco", "--ground-truth", str(path), "--detections", str(good)],
        ["evaluate", "--protocol", "coco", "--ground-truth", str(good), "--detections", str(path)],
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
    assert rewards.score("accuracy", completion, truth, task="classification") == float(right)
    assert judge(completion, truth)[2] is right
