"""What `vrft run` says before, while and after it works."""

import io as text_io
import shutil
import time
from pathlib import Path

import click
import pytest

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.commands import telling
from vrft_core.commands.status import result_of, result_text
from vrft_core.commands.telling import INTERRUPTED, Narrator, ahead, result
from vrft_core.commands.texts import one_line, seconds, short
from vrft_core.outcomes import outcome, outcome_noted
from vrft_core.report.verdict import points
from vrft_core.stages import STAGES, outcome_file
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]
CELL = "lvis-mini-1shot-s0"


@pytest.fixture
def project(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return Layout(tmp_path), load_params(tmp_path / "params.yaml")


class Terminal(text_io.StringIO):
    def isatty(self) -> bool:
        return True


def test_before_a_first_run_it_names_the_stages_and_what_was_measured_elsewhere(project):
    layout, params = project
    said = "\n".join(ahead(layout, params, params.parse_cell(CELL)))
    assert said.startswith(f"{CELL}: 10 stages, 0 already made")
    assert "To make: raw, few_shot, prompts, policy, sft, rft, base_eval, sft_eval, rft_eval, report." in said
    assert "about twelve CPU minutes, seven on two cores; then about three a cell" in said and "Ctrl-C" in said


def test_the_time_is_that_of_earlier_runs_of_this_cell_or_another_with_its_recipe(project):
    layout, params = project
    cell = params.parse_cell(CELL)
    other = params.parse_cell("lvis-mini-1shot-s1")
    for stage, scope in STAGES.items():
        if stage not in ("study", "rft"):
            io.write_json(outcome_file(layout, cell.at(scope), stage), {"seconds": 10.0})
    assert "At least 2 minutes" in "\n".join(ahead(layout, params, cell))
    io.write_json(outcome_file(layout, other, "rft"), {"seconds": 510.0})
    assert "About 10 minutes, judging by earlier runs here." in ahead(layout, params, cell)


def test_a_study_counts_what_its_cells_share_once(project):
    layout, params = project
    assert ahead(layout, params, params.parse_cell("lvis-mini-1shot"))[0].startswith("lvis-mini-1shot: 25 stages")


def test_how_long_a_stage_took_is_noted_and_an_error_in_its_place(tmp_path):
    with outcome_noted(tmp_path / "a.json"):
        pass
    assert outcome(tmp_path / "a.json")["seconds"] >= 0
    with pytest.raises(ValueError), outcome_noted(tmp_path / "a.json"):
        raise ValueError("bad")
    assert outcome(tmp_path / "a.json")["error"] == "bad"
    (tmp_path / "a.json").write_text("[")
    assert outcome(tmp_path / "a.json") == {}


def test_where_nobody_watches_lines_are_plain_and_passed_on():
    stream = text_io.StringIO()
    narrator = Narrator(stream)
    narrator.skip("raw@x", "cached")
    narrator.start("rft@x")
    narrator.line("x rft: 40/120, loss 0.1, 2m10s left")
    narrator.line("x rft: done (chosen step 1)")
    narrator.close()
    said = stream.getvalue()
    assert "\x1b" not in said and "\r" not in said
    assert said.splitlines()[:3] == ["raw@x: cached", "rft@x: running", "x rft: 40/120, loss 0.1, 2m10s left"]
    assert said.splitlines()[3].startswith("rft@x: done in") and len(said.splitlines()) == 4
    assert narrator.environment() == {}


def test_on_a_terminal_a_stage_that_says_nothing_yet_shows_how_long_it_takes(monkeypatch):
    monkeypatch.setattr(telling, "BEAT", 0.01)
    stream = Terminal()
    narrator = Narrator(stream)
    narrator.start("rft@x")
    until = time.monotonic() + 60
    while "▶ rft@x  0s" not in stream.getvalue():
        assert time.monotonic() < until
        time.sleep(0.01)
    narrator.line("x rft: 40/120, loss 0.1, 2m10s left")
    said = stream.getvalue()
    time.sleep(0.05)
    assert stream.getvalue() == said


def test_on_a_terminal_a_stage_has_one_line_and_warnings_stay_above_it():
    stream = Terminal()
    narrator = Narrator(stream)
    narrator.start("rft@x")
    narrator.line("x rft: 40/120, loss 0.1, 2m10s left")
    narrator.line("x rft: guard kl: too high")
    narrator.line("x rft: 80/120, loss 0.1, 1m left")
    narrator.close("failed")
    shown = [line.split("\x1b[K")[-1] for line in stream.getvalue().split("\n")]
    assert shown[0] == "x rft: guard kl: too high"
    assert click.unstyle(shown[1]).startswith("✗ rft@x  ") and shown[2:] == [""]
    assert "▶ rft@x  80/120, loss 0.1, 1m left" in stream.getvalue()
    assert narrator.environment() == {"VRFT_PROGRESS_SECONDS": "1"}


def test_an_interruption_is_said_once_and_is_no_failure():
    stream = text_io.StringIO()
    narrator = Narrator(stream)
    narrator.start("rft@x")
    narrator.line("")
    narrator.line(INTERRUPTED)
    narrator.close("interrupted")
    assert stream.getvalue().splitlines()[1].startswith("rft@x: interrupted after ")
    assert len(stream.getvalue().splitlines()) == 2


def test_the_result_fits_the_terminal_and_says_where_and_what_next(project):
    layout, params = project
    cell = params.parse_cell(CELL)
    entry = {"value": 0.35, "low": 0.31, "high": 0.39}
    gain = {"value": -0.0001, "low": -0.02, "high": 0.02}
    names = [f"metric/{i}" for i in range(12)]
    io.write_json(
        layout.report(cell) / "metrics.json",
        {"verdict": {"metric": "metric/3", "title": "M", "headline": "No difference can be shown. " * 4},
         "columns": [[name, f"column {name[-1]}"] for name in names],
         "models": {model: dict.fromkeys(names, entry) for model in ("base", "sft", "rft")},
         "differences": {pair: dict.fromkeys(names, gain) for pair in ("rft-sft", "rft-base", "sft-base")}},
    )  # fmt: skip
    said = result(layout, cell, 72)
    table = [line for line in said if not line.startswith(("Report:", "Next:", "     "))]
    assert max(map(len, table)) <= 72
    text = "\n".join(said)
    assert "column 3, 95 % interval" in text and "35.0 (31.0 to 39.0)" in text and "0.0 (−2.0 to +2.0)" in text
    assert "more columns are in the report" in text and str(layout.report(cell) / "report.html") in text
    assert "vrft run lvis-mini-1shot " in text and f"vrft predict {CELL} IMAGE" in text


def test_where_a_model_finds_nothing_a_line_stands_for_the_table_and_a_larger_one_is_next(project):
    layout, params = project
    cell = params.parse_cell(CELL)
    zero = {"m": {"value": 0.0, "low": 0.0, "high": 0.432}}
    io.write_json(
        layout.report(cell) / "metrics.json",
        {"verdict": {"metric": "m", "title": "M", "headline": "The model finds nothing.", "nothing": True},
         "columns": [["m", "the metric"]], "models": {model: zero for model in ("base", "sft", "rft")},
         "measured": {"images": 15},
         "differences": {pair: zero for pair in ("rft-sft", "rft-base", "sft-base")}},
    )  # fmt: skip

    said = result(layout, cell, 160)
    assert said[2].startswith("the metric is 0.0 points of 100 for all three models. 15 images cannot say more: ")
    assert not any(line.startswith("RFT − SFT") for line in said)
    assert said[-1].startswith("Next:   vrft add lvis --recipe qwen2-vl-2b-lora --shots 1   a larger model")
    assert said[-1].split()[5] in params.recipes
    assert result_text(result_of(layout, cell)) == "0.0 before and after training: no model finds anything"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.01, "under 0.1 seconds"), (0.44, "0.4 seconds"), (45, "45 seconds"), (80, "80 seconds"), (720, "12 minutes"),
     (12_240, "3.4 hours"), (440_000, "5.1 days")],
)  # fmt: skip
def test_times_are_in_human_units(value, text):
    assert seconds(value) == text


def test_numbers_have_few_digits():
    assert [short(v) for v in (120, 1_234_567, 0.123456789, 3.0, 1234.56, 0.0000123)] == [
        "120", "1,234,567", "0.123", "3", "1,235", "1.2e-05"
    ]  # fmt: skip
    assert one_line({"steps": 3, "name": "x", "cpu_seconds": 0.12345678901234567}) == " (steps 3, cpu seconds 0.123)"
    assert one_line({"name": "x", "passed": True}) == ""
    assert [points(0.3504), points(-0.016, True), points(-0.0001, True)] == ["35.0", "−1.6", "0.0"]
