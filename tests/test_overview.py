"""`vrft overview`: any reports on one page, and what leads from a report to what lies around it."""

import re
from pathlib import Path

import pytest

from vrft_core import cli, io
from vrft_core.cell import Layout
from vrft_core.report import overview, places
from vrft_core.report.rows import CellResults
from vrft_core.report.verdict import findings, needs
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]


def entry(value: float, half: float) -> dict:
    return {"value": value, "low": value - half, "high": value + half}


def results(cell: str, gain: float, shots: int = 1, half: float = 0.02, **more) -> CellResults:
    """What a report holds of which the page makes use; metric m, SFT at .5."""
    values = {"base": 0.4, "sft": 0.5, "rft": 0.5 + gain}
    pairs = {"rft-sft": gain, "rft-base": gain + 0.1, "sft-base": 0.1}
    found = {
        "cell": cell, "shots": shots, "seed": 0, "subject": "few-shot counting", "columns": [["m", "the metric"]],
        "models": {model: {"m": entry(value, 0.03)} for model, value in values.items()},
        "differences": {pair: {"m": entry(value, half)} for pair, value in pairs.items()},
        "verdict": {"metric": "m", "title": "metric m", "headline": f"{cell} is reported.", "also": [], "outcome": ""},
        "needs": "More images are needed.", "paper": None,
    }  # fmt: skip
    return found | more  # pyright: ignore[reportReturnType]


def test_the_headline_counts_what_intervals_decide():
    every = [results("a", 0.05), results("b", 0.01), results("c", -0.05), results("d", 0.04)]

    said = "Of 4 reports, RFT beats SFT in 2, is worse in 1, and is not shown to differ from it in 1."
    assert overview.headline(every) == said
    assert overview.headline(every[:1]) == "a is reported."


def test_where_no_model_finds_anything_there_is_a_line_and_no_row_of_zeros():
    empty = [results(name, 0.0, half=0.432) for name in ("empty", "void")]
    for one in empty:
        one["verdict"]["nothing"] = True
    told = results("told", 0.05)

    both = overview.html({"x-r": [(told, "a"), (empty[0], "b")], "y-r": [(empty[1], "c")]})

    assert "RFT beats SFT in 1, is worse in none, and is not shown to differ from it in none. In 2, no model" in both
    assert "±" not in both and "43.2" not in both and both.count("<tbody>") == 2
    assert "because no model finds anything: empty." in both and "because no model finds anything: void." in both
    assert overview.headline(empty) == "In none of 2 reports does any model find anything."


def test_several_numbers_of_shots_make_a_curve_with_intervals_and_the_papers_values_beside_it():
    row = {"label": "rft", "paper": 61.5, "inside": True, "here": {"value": 51.0, "low": 49.0, "high": 53.0}}
    paper = {"table": 3, "title": "t", "metric": "m", "paper_metric": "m", "claims": [], "notes": [], "rows": [row]}
    rows = [(results(f"x-r-{n}shot", n / 100, shots=n, paper=paper), f"{n}.html") for n in (1, 2, 4)]

    page = overview.html({"x-r": rows})

    assert "By number of shots" in page and "the same number of shots" not in page
    curve = page[page.index("By number of shots") :]
    assert "RFT from 51 to 54" in curve and "SFT, paper" not in curve and "RFT, paper from 61.5 to 61.5" in curve
    assert "x-r-2shot beside the paper" in page and 'href="2.html"' in page


def test_one_number_of_shots_makes_none_and_a_study_goes_before_its_cells():
    study = results("x-r-1shot", 0.01, seeds=[0, 1])
    page = overview.html({"x-r": [(study, "a"), (results("x-r-1shot-s0", 0.03), "b")]})

    assert "By number of shots" not in page and "the same number of shots" in page
    page = overview.html({"x-r": [(results("s0", 0.2), "b"), (study, "a"), (results("more", 0.1, shots=2), "c")]})
    assert "RFT from 51 to 60" in page


def test_names_from_outside_are_text():
    page = overview.html({"<b>x": [(results("<script>1</script>", 0.01), "a"), (results("<i>", 0.01, shots=3), "b")]})

    assert not re.search("<(script|b|i)>", page)


@pytest.fixture
def project(tmp_path) -> Layout:
    """Reports of one study and one cell, by their numbers alone."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    layout, params = Layout(tmp_path), load_params(tmp_path / "params.yaml")
    for key in ("lvis-mini-1shot", "icons-mini-1shot-s1"):
        place = layout.report(params.parse_cell(key))
        io.write_json(place / "metrics.json", results(key, 0.01))
    return layout


def run(layout: Layout, *arguments: str) -> int:
    return cli.main(["--root", str(layout.root), "overview", *arguments])


def test_without_names_every_study_that_has_a_report_is_compared_else_its_cells(project, capsys):
    assert run(project) == 0

    page = (project.root / "reports/overview.html").read_text()
    assert 'href="studies/lvis-mini-1shot/report.html"' in page
    assert 'href="icons-mini-1shot/s1/report/report.html"' in page
    assert capsys.readouterr().out.startswith("Of 2 reports, RFT beats SFT in none, is worse in none, and is not")


def test_links_lead_from_wherever_the_page_lies(project, tmp_path):
    assert run(project, "icons-mini-1shot-s1", "--out", str(tmp_path / "shown/here.html")) == 0

    page = (tmp_path / "shown/here.html").read_text()
    assert 'href="../reports/icons-mini-1shot/s1/report/report.html"' in page and "lvis" not in page


@pytest.mark.parametrize(("key", "said"), [("phrases-mini-4shot", "no such report"), ("lvis-mini", "a setup")])
def test_what_has_no_report_is_named_with_the_way_to_one(project, key, said, capsys):
    assert run(project, key) == 2
    assert said in capsys.readouterr().err


def test_a_report_leads_to_its_study_its_other_seeds_and_its_files(project):
    params = load_params(project.root / "params.yaml")

    found = {one["label"]: one["links"] for one in places.around_cell(project, params, params.cells()[0])}

    missing = "(not made when this page was written)"
    assert found["Study over all seeds"] == [{"text": f"lvis-mini-1shot {missing}", "href": ""}]
    assert found["Other seeds"] == [{"text": f"seed 1, seed 2 {missing}", "href": ""}]
    hrefs = [one["href"] for one in found["Predictions"]]
    assert hrefs == [f"../{place}/predictions.jsonl" for place in ("../../lvis-mini/base", "sft", "rft")]

    for page in ("lvis-mini-1shot/s1/report/report.html", "studies/lvis-mini-1shot/report.html"):
        io.write_text(project.root / "reports" / page, "<p>made</p>")
    found = {one["label"]: one["links"] for one in places.around_cell(project, params, params.cells()[0])}
    assert [one["href"] for one in found["Study over all seeds"]] == ["../../../studies/lvis-mini-1shot/report.html"]
    assert found["Other seeds"] == [
        {"text": "seed 1", "href": "../../s1/report/report.html"}, {"text": f"seed 2 {missing}", "href": ""}
    ]  # fmt: skip


def test_a_report_says_when_and_on_what_was_trained_and_leads_to_mlflow_by_http_alone():
    run = "http://tracking.example:5000/#/runs/1"
    record = {"finished": "2026-11-27T17:22:00+00:00", "hardware": "1 × H100", "run": run}
    training = {"sft": {**record, "run": "javascript:alert(1)"}, "rft": record}

    assert places.facts([training], {"commit": "0123456789abcdef", "dirty": True}) == [
        {"label": "Trained", "text": "2026-11-27"},
        {"label": "On", "text": "1 × H100"},
        {"label": "Code", "text": "commit 0123456789 and uncommitted changes"},
    ]
    [links] = places.runs(training)
    assert links["links"] == [{"text": "RFT", "href": run}]
    [here] = places.runs({"sft": {"run": "http://127.0.0.1:5000/#/runs/0123456789ab"}, "rft": {}})
    assert here["links"] == [
        {"text": "SFT run 01234567 (start it with make ui; then at http://127.0.0.1:5000)", "href": ""}
    ]
    assert places.runs({"sft": {}, "rft": {}}) == [] == places.facts([{"sft": {}, "rft": {}}], None)


def test_what_can_be_said_names_each_metric_once():
    found = results("a", 0.05)
    found["columns"] = [["m", "the metric"], ["n", "another"]]
    for pair, value in (("rft-sft", 0.0), ("rft-base", -0.3), ("sft-base", 0.1)):
        found["differences"][pair]["n"] = entry(value, 0.02)

    assert findings(found)[:2] == [
        "RFT against SFT: better in the metric (+5.0); not shown to differ in another.",
        "RFT against the untouched model: better in the metric (+15.0); worse in another (−30.0).",
    ]


def test_what_it_takes_to_know_more():
    assert needs(entry(0.05, 0.02), 400).startswith("Differences of about 2.9 points or more can be shown on 400")
    assert needs(entry(0.01, 0.02), 400).endswith("For one as large as that measured, about 3,270 images are needed.")
    assert "more than 100 times as many images" in needs(entry(0.0001, 0.02), 400)
    assert needs(entry(0.01, 0.02), 400, nothing=True).startswith("No difference was measured")
    several = entry(0.02, 0.03) | {"std": 0.01, "se_images": 0.005, "per_seed": [0.01, 0.02, 0.03]}
    assert re.search(r"as large as the one measured, \d+ seeds are needed", needs(several, 400))
    settled = entry(0.05, 0.03) | {"std": 0.01, "se_images": 0.005, "per_seed": [0.04, 0.05, 0.06]}
    assert needs(settled, 400).endswith("3 seeds on 400 evaluation images were enough.")
