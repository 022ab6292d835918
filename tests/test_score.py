"""`vrft score`: what it prints for logged completions, and how it refuses a broken log."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from vrft_core.cli import main

SOLUTION = "<answer>[{'Position': [100, 101, 300, 300], 'Confidence': 1}]</answer>"


def said(content: str) -> str:
    return f"<think>x</think><answer>{content}</answer>"


def row(content: str, solution: str = SOLUTION, **more) -> dict:
    return {"completion": said(content), "solution": solution, **more}


@pytest.fixture
def score(tmp_path, capsys):
    """Score rows, or raw bytes, from a file: (exit status, parsed output lines, error text)."""

    def run(rows, *options, task="detection"):
        log = tmp_path / "log.jsonl"
        log.write_bytes(rows if isinstance(rows, bytes) else "".join(json.dumps(r) + "\n" for r in rows).encode())
        status = main(["score", "--task", task, *options, str(log)])
        out, err = capsys.readouterr()

        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        return status, [json.loads(line, parse_constant=refuse) for line in out.splitlines()], err

    return run


def test_each_completion_gets_one_line_with_total_parts_and_reasons(score):
    status, lines, err = score(
        [
            row("[{'Position': [100, 100, 300, 300], 'Confidence': 0.9}]"),
            row("[{'Position': [100, 100, 300, 300], 'Confidence': 0.9}, ...]"),
            row("No Objects"),
        ]
    )
    assert (status, err) == (0, "")
    assert lines == [
        {"reward": 0.995 + 0.9 + 1.0, "parts": {"iou": 0.995, "confidence": 0.9, "format": 1.0}, "reasons": []},
        {"reward": 0.995 + 0.9, "parts": {"iou": 0.995, "confidence": 0.9, "format": 0.0}, "reasons": ["ellipsis"]},
        {"reward": 1.0, "parts": {"iou": 0.0, "confidence": 0.0, "format": 1.0}, "reasons": []},
    ]


def test_a_correct_rejection_earns_all(score):
    _, lines, _ = score([row("No Objects", "<answer>No Objects</answer>"), row("No Objects", "<answer>[]</answer>")])
    assert [line["reward"] for line in lines] == [3.0, 3.0]


def test_the_published_rewards_are_there_for_comparison_with_their_faults_named(score):
    wrong_box_same_y1 = row("[{'Position': [500, 101, 700, 300], 'Confidence': 0.3}]")
    not_a_number = row("[{'Position': [100, 100, 300, 300], 'Confidence': NaN}]")
    _, strict, _ = score([wrong_box_same_y1, not_a_number])
    _, published, _ = score([wrong_box_same_y1, not_a_number], "--rewards", "published")
    assert [line["reward"] for line in strict] == [1.0, 0.995]
    assert published[0] == {
        "reward": 3.0,
        "parts": {"iou": 1.0, "confidence": 1.0, "format": 1.0},
        "reasons": ["same_number"],
    }
    assert published[1]["reward"] is None
    assert published[1]["parts"] == {"iou": 0.995, "confidence": None, "format": 1.0}
    assert published[1]["reasons"] == ["confidence_not_a_number", "reward_not_finite"]


def test_classification_is_scored_by_name(score):
    rows = [row(name, "<answer>A330-200</answer>") for name in ("a330 200", "A330", "")]
    _, strict, _ = score(rows, task="classification")
    _, published, _ = score(rows, "--rewards", "published", task="classification")
    assert [line["parts"] for line in strict] == [
        {"accuracy": 1.0, "format": 1.0},
        {"accuracy": 0.0, "format": 1.0},
        {"accuracy": 0.0, "format": 0.0},
    ]
    assert [line["parts"]["accuracy"] for line in published] == [0.0, 1.0, 1.0]


def test_all_names_of_a_class_are_right_where_the_log_gives_them(score):
    rows = [row(name, "<answer>hot dog</answer>", names=["frankfurter"]) for name in ("hot dog", "Frankfurter", "dog")]
    _, lines, _ = score(rows, task="classification")
    assert [line["parts"]["accuracy"] for line in lines] == [1.0, 1.0, 0.0]


def test_grounding_is_scored_by_one_box(score):
    rows = [row(box, "<answer> (100,100),(300,300) </answer>") for box in ("(100,100),(300,200)", "(1000,1000),(0,0)")]
    _, strict, _ = score(rows, task="grounding")
    _, published, _ = score(rows, "--rewards", "published", task="grounding")
    assert [line["parts"] for line in strict] == [{"iou": 0.5, "format": 1.0}, {"iou": 0.0, "format": 0.0}]
    assert strict[1]["reasons"] == ["box_inverted"]
    assert published[0]["parts"]["iou"] == pytest.approx(1.5)
    assert published[1]["parts"]["iou"] > 20


def test_an_image_larger_than_the_frame_of_1000_widens_it(score):
    box = "[{'Position': [1100, 101, 1200, 300], 'Confidence': 1}]"
    _, (line,), _ = score([row(box, f"<answer>{box}</answer>", image_size=[1280, 720])])
    assert line["reward"] == 3.0
    status, lines, err = score([row(box, f"<answer>{box}</answer>")])
    assert (status, lines) == (2, [])
    assert "box_out_of_range" in err


def test_standard_input_is_read_for_a_dash(score, capsys, monkeypatch):
    data = json.dumps(row("[{'Position': [100, 101, 300, 300], 'Confidence': 1}]")).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n" + data)))
    assert main(["score", "--task", "detection", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["reward"] == 3.0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"completion": "a", "solution":', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"completion": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'["a", "b"]', "not an object"),
        (b'{"solution": "a"}', "`completion` is missing"),
        (b'{"completion": "a", "solution": 7}', "`solution` is not a string"),
        (b'{"completion": "a", "solution": "left"}', "`solution` cannot be used: unparsable"),
        (b'{"completion": "a", "solution": "<answer>[{\'Position\': [9, 9, 1, 1]}]</answer>"}', "box_inverted"),
        (json.dumps(row("a", image_size=[640])).encode(), "`image_size` is not two positive numbers"),
        (json.dumps(row("a", image_size=[640, "480"])).encode(), "`image_size` is not two positive numbers"),
        (b'{"completion": "a", "solution": "No Objects", "image_size": [NaN, 1]}', "`image_size` is not"),
        (json.dumps(row("a", names="dog")).encode(), "`names` is not a list of names"),
    ],
)
def test_a_broken_line_is_named_in_one_line_and_nothing_is_printed(score, line, problem):
    good = json.dumps(row("No Objects")).encode()
    status, lines, err = score(good + b"\n\n" + line + b"\n" + good + b"\n")
    assert (status, lines) == (2, [])
    assert err.count("\n") == 1
    assert "log.jsonl:3: " in err
    assert problem in err


def test_a_log_that_is_not_there_is_named(capsys, tmp_path):
    assert main(["score", "--task", "detection", str(tmp_path / "nothing.jsonl")]) == 2
    assert "nothing.jsonl: No such file" in capsys.readouterr().err
