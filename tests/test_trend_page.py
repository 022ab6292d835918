"""The page of the nights: what it shows, and that nothing from a file becomes markup."""

import re
from html.parser import HTMLParser

import pytest

from vrft_core.report.trend import html, sparkline

HOSTILE = '</script><img src=x onerror=alert(1)>"><b>'
CELL = "lvis-mini-1shot-s0"


def night(day: int, value: float = 0.45, verdict: str = "good", **changes) -> dict:
    ends = {"value": value, "low": value - 0.02, "high": value + 0.02}
    row = {
        "metric": "m", "title": "LVIS AP", **ends, "baseline": 0.45, "p": 0.5, "verdict": verdict,
        "difference": {"value": value - 0.45, "low": -0.02, "high": 0.02, "se": 0.01},
        "drift": {"evidence": 1.0, "nights": 1, "mean": 0.0}, "metrics": {"m": {"label": "AP", **ends}},
    }  # fmt: skip
    whole = {
        "at": f"2026-01-{day:02}T02:00:00+00:00", "passed": verdict == "good", "sentence": f"night {day}",
        "cells": {CELL: row}, "rewards": {"x": {"passed": True, "said": ""}}, "golden": None, "data": None,
        "commit": "0123456789abcdef", "run": f"http://127.0.0.1:5000/#/experiments/2/runs/{'f' * 32}",
    }  # fmt: skip
    return whole | changes


class Seen(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_it_shows_the_last_verdict_every_night_and_the_mean_of_the_seven_before():
    page = Seen(html([night(day, 0.40 + day / 100) for day in range(1, 11)]))
    assert "Passed" in page.text and all(f"night {day}" in page.text for day in range(1, 11))
    assert "50.0" in page.text, "tonight"
    assert "46.0" in page.text, "nights 3 to 9"
    assert ("href", "../lvis-mini-1shot/s0/report/report.html") in page.attributes
    assert ("href", f"http://127.0.0.1:5000/#/experiments/2/runs/{'f' * 32}") in page.attributes
    assert "0123456789" in page.text


def test_a_failed_night_and_a_cell_that_was_never_evaluated_are_shown():
    broken = night(2, verdict="failed", cells={CELL: {"passed": False, "said": "no model", "verdict": "failed"}})
    page = Seen(html([broken]))
    assert "FAILED" in page.text and "no model" in page.text


def test_it_is_self_contained_and_allows_no_script():
    page = html([night(1, run=None)])
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert not re.search(r"<script|<link|https?://|@import|url\(", page)


@pytest.mark.parametrize("field", ["sentence", "commit", "run", "at"])
def test_hostile_fields_are_text(field):
    page = Seen(html([night(1, **{field: HOSTILE})]))
    assert "img" not in page.tags and "b" not in page.tags and "script" not in page.tags


def test_hostile_names_of_cells_metrics_and_verdicts_are_text():
    whole = night(1, run=None)
    row = whole["cells"].pop(CELL)
    row |= {"title": HOSTILE, "verdict": HOSTILE, "metrics": {HOSTILE: {**row["metrics"]["m"], "label": HOSTILE}}}
    whole["cells"][f"javascript:alert(1)//-{HOSTILE}"] = row
    page = Seen(html([whole]))
    assert "img" not in page.tags and "b" not in page.tags and "script" not in page.tags
    assert [value for name, value in page.attributes if name == "href" and not value.startswith("../")] == []
    assert [name for name, _ in page.attributes if name.startswith("on")] == []


def test_a_run_is_linked_by_http_only():
    page = Seen(html([night(1, run="javascript:alert(1)")]))
    assert "javascript" not in str(page.attributes)


def test_a_sparkline_draws_the_band_and_names_itself():
    rows = [{"value": v, "low": v - 0.1, "high": v + 0.1} for v in (0.2, 0.3, 0.25)]
    drawn = Seen(sparkline("AP", rows))
    assert drawn.tags == ["svg", "polygon", "polyline", "line", "circle"]
    assert ("aria-label", "AP: 3 nights, last 25.0") in drawn.attributes
    assert len(dict(drawn.attributes)["points"].split()) in (3, 6)


def test_a_single_night_equal_values_and_undefined_ones_are_drawn_too():
    same = {"value": 0.5, "low": 0.5, "high": 0.5}
    for rows in ([same], [same] * 3, [same, {"value": None, "low": None, "high": None}]):
        assert "nan" not in sparkline("AP", rows)
    assert "nothing was recorded" in sparkline("AP", [{"value": None, "low": None, "high": None}])
