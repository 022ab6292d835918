"""The page a customer reads: honest in its headline, self-contained, safe, the same bytes for the same inputs."""

import json
import random
import re
import shutil
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from plausible_results import plausible_project, write_evaluation, write_rows

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.report import charts, drawing
from vrft_core.report.charts import Bars, Interval, Series
from vrft_core.report.gallery import gallery
from vrft_core.report.panel import MODELS, Inputs
from vrft_core.report.verdict import outcome, points, sentence
from vrft_core.stages import run_stage
from vrft_core.tasks import get_task
from vrft_core.tasks.detection.metrics.detection_scores import ap_metric
from vrft_core.tasks.detection.panels.judging import Boxes, judge
from vrft_core.tasks.detection.panels.seeing import see


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    layout, params = plausible_project(root)
    for cell in params.cells():
        run_stage("report", layout, params, cell)
    run_stage("study", layout, params, params.cells()[0])
    return layout, params


@pytest.fixture
def project(made, tmp_path):
    """A copy that a test may spoil: (layout, params, cell)."""
    layout, params = made
    shutil.copytree(layout.root, tmp_path, dirs_exist_ok=True)
    return type(layout)(tmp_path), params, params.cells()[0]


def page(layout, cell) -> str:
    return (layout.report(cell) / "report.html").read_text(encoding="utf-8")


def numbers(layout, cell) -> dict:
    return io.read_json(layout.report(cell) / "metrics.json")


class Elements(HTMLParser):
    """Every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def named(self, *names) -> list[dict]:
        return [attributes for tag, attributes in self.found if tag in names]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.021, 0.063, "RFT beats SFT by 4.2 points of LVIS AP (self presence), 95 % interval +2.1 to +6.3."),
        (-0.063, -0.021, "RFT is worse than SFT by 4.2 points of LVIS AP (self presence), 95 % interval −6.3 to −2.1."),
        (-0.01, 0.05, "No difference between RFT and SFT can be shown; measured: +2.0 points of LVIS AP (self"),
        (0.0, 0.08, "No difference between RFT and SFT can be shown; measured: +4.0 points of LVIS AP (self"),
    ],
)
def test_the_headline_claims_no_more_than_the_interval(low, high, said):
    found = {"value": (low + high) / 2, "low": low, "high": high}
    assert sentence("rft-sft", found, ap_metric("lvis/self/AP").title).startswith(said)


def test_an_undefined_metric_decides_nothing():
    nothing = {"value": None, "low": None, "high": None}

    assert outcome(nothing) == "undecided"
    assert "cannot be compared" in sentence("rft-sft", nothing, ap_metric("lvis/oracle/AP").title)
    assert points(None) == "–"


@pytest.mark.slow
def test_rft_made_worse_is_reported_as_worse(project):
    layout, params, cell = project
    write_evaluation(layout, params, cell, "rft", skill=0.2)

    run_stage("report", layout, params, cell)

    assert numbers(layout, cell)["verdict"]["outcome"] == "worse"
    assert "RFT is worse than SFT by" in page(layout, cell)


@pytest.mark.slow
def test_equal_models_are_reported_as_not_told_apart(project):
    layout, params, cell = project
    for name in ("predictions.jsonl", "metrics.json"):
        shutil.copy(layout.evaluation(cell, "sft") / name, layout.evaluation(cell, "rft") / name)

    run_stage("report", layout, params, cell)

    assert numbers(layout, cell)["verdict"]["headline"].startswith("No difference between RFT and SFT can be shown")


def test_the_reports_numbers_are_those_of_the_evaluations(made):
    layout, params = made
    cell = params.cells()[0]

    results = numbers(layout, cell)

    for model, values in results["models"].items():
        evaluated = io.read_json(layout.evaluation(cell, model) / "metrics.json")["metrics"]
        known = [name for name in values if not name.endswith("taught")]  # which are taught, the base cannot know
        assert {name: values[name] for name in known} == {name: evaluated[name] for name in known}
    for pair, values in results["differences"].items():
        a, b = (results["models"][name]["lvis/oracle/AP"]["value"] for name in pair.split("-"))
        assert values["lvis/oracle/AP"]["value"] == pytest.approx(a - b)
        assert values["lvis/oracle/AP"]["low"] <= values["lvis/oracle/AP"]["value"] <= values["lvis/oracle/AP"]["high"]


def test_the_page_asks_for_nothing_from_outside_and_runs_no_script(made):
    layout, params = made
    for cell in (params.cells()[0], params.cells()[0].at("study")):
        text = page(layout, cell)
        elements = Elements(text)

        assert not elements.named("script", "link", "iframe", "object", "embed", "form", "base", "img")
        drawn = [(tag, a) for tag, a in elements.found if tag != "a"]
        loaded = [v for _, a in drawn for k, v in a.items() if k in ("src", "href", "srcset", "xlink:href")]
        assert all(value.startswith(("data:image/", "#")) for value in loaded)
        assert all(re.match(r"#|\.\./|metrics\.json$|summary\.md$", a["href"]) for a in elements.named("a"))
        assert "@import" not in text
        assert set(re.findall(r"url\((.)", text)) <= {"#"}
        [policy] = [a["content"] for a in elements.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")


def test_hostile_answers_and_names_are_shown_as_text(project):
    layout, params, cell = project
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x00"
    rows = io.read_jsonl(layout.evaluation(cell, "rft") / "predictions.jsonl")
    write_rows(layout, params, cell, "rft", [row | {"completion": script, "reasons": ["<b>x</b>"]} for row in rows])
    for path in (layout.raw(cell) / "annotations.json", layout.few_shot(cell) / "selection.json"):
        io.write_json(path, json.loads(path.read_text().replace('"tiger"', '"<i onclick=x>tiger"')))
    for model in ("base", "sft", "rft"):
        place = layout.evaluation(cell, model)
        rows = io.read_jsonl(place / "predictions.jsonl")
        write_rows(layout, params, cell if model != "base" else cell.at("setup"), model, rows)

    run_stage("report", layout, params, cell)

    elements = Elements(page(layout, cell))
    assert not elements.named("script", "img", "i", "b")
    assert {a["class"] for a in elements.named("article")} == {
        found for a in elements.named("article") if re.fullmatch("entry( [cof][0-9]+)*", found := a["class"])
    }
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in elements.text
    assert "\u202e" not in elements.text
    assert "<i onclick=x>tiger" in elements.text


def test_the_same_inputs_beside_the_same_pages_give_the_same_bytes(project):
    layout, params, cell = project
    run_stage("report", layout, params, cell)  # now that its neighbours have pages, it links to them
    before = {path.name: path.read_bytes() for path in layout.report(cell).iterdir()}

    run_stage("report", layout, params, cell)

    assert {path.name: path.read_bytes() for path in layout.report(cell).iterdir()} == before
    assert set(before) == {"report.html", "metrics.json", "summary.md", "learning.svg", "examples.svg"}


def test_every_chart_and_image_is_described_and_every_table_has_caption_and_header_cells(made):
    layout, params = made
    for cell in (params.cells()[0], params.cells()[0].at("study")):
        elements = Elements(page(layout, cell))

        drawn = [a for a in elements.named("svg") if a.get("aria-hidden") != "true"]
        assert all(len(a["aria-label"]) > 20 and a["role"] == "img" for a in drawn)
        assert len(elements.named("table")) == len(elements.named("caption")) > 0
        assert all("scope" in attributes for attributes in elements.named("th"))
        assert [a["lang"] for a in elements.named("html")] == ["en"]
        headings = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
        assert headings[0] == 1
        assert all(b - a <= 1 for a, b in pairwise(headings))


def test_both_colour_schemes_have_contrast(made):
    style = Path(charts.__file__).with_name("templates") / "style.css"
    schemes = style.read_text().split("prefers-color-scheme: dark")
    for scheme in (schemes[0], schemes[1]):
        colours = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6})", scheme))
        for name in ("ink", "soft", "link"):
            for ground in ("paper", "panel"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in ("base", "sft", "rft", "s1", "s2", "s3", "s4", "s5", "s6"):
            assert contrast(colours[name], colours["paper"]) >= 3, name


def test_boxes_are_drawn_where_they_are_and_counted_as_found_once(made):
    layout, params = made
    cell = params.cells()[0]
    truth = Annotations.load(layout.raw(cell) / "annotations.json").split("eval")
    image = next(i for i in truth.images if len(truth.by_image[i]) == 1)
    category = truth.category_ids(image)[0]
    [box] = truth.boxes(image, category)
    row = {
        "id": "1", "image_id": image, "category_id": category, "completion": "x",
        "boxes": [box, box, [0, 0, 5, 5]], "scores": [0.95, 0.5, 0.25],
    }  # fmt: skip
    inputs = Inputs.read(layout, params, cell, get_task("detection"))
    question = f"{image}-{category}"
    row |= {"id": question, "reasons": [], "rankings": {"certainty": [0.125, 0.5, 0.25]}}
    inputs = replace(inputs, rows={model: {question: row} for model in MODELS})
    boxes = {model: Boxes.of(inputs, model) for model in MODELS}
    judged = judge(inputs, boxes)

    [entry] = gallery(inputs, judged, layout.raw(cell) / "images", 0, partial(see, inputs, boxes)).entries

    *_, answer = entry["answers"]
    assert [one["name"] for one in entry["answers"]] == ["Base", "SFT", "RFT"]
    assert answer["caption"] == "1 of 1 found, 2 wrong"
    drawn = [a for a in Elements(str(answer["svg"])).named("rect") if a["class"] in ("box truth", "box rft")]
    assert [float(drawn[0][k]) for k in ("x", "y", "width", "height")] == [
        box[0],
        box[1],
        box[2] - box[0],
        box[3] - box[1],
    ]
    assert (drawn[1]["x"], drawn[1]["width"]) == (drawn[0]["x"], drawn[0]["width"])
    assert answer["notes"][0] == "Box 1: certainty 0.50, stated confidence 0.50; right"
    assert answer["notes"][2].startswith("Box 3: certainty 0.12, stated confidence 0.95; a second box on one object")
    assert "1: certainty 0.50, stated 0.50" in answer["large"]
    assert judged["rft"][question].failures == ("a second box on one object", "a box on nothing of that kind")
    assert entry["question"].startswith("Detect all objects") and "Position" in entry["expected"]


@pytest.mark.parametrize("spread", [0, 3, 9])
def test_labels_of_neighbouring_boxes_lie_within_the_image_and_none_on_another(spread):
    lot = random.Random(0)
    boxes = [([40 + spread * n, 2, 60 + lot.random() * 40, 30], f"{lot.random():.0%}") for n in range(6)]
    boxes += [([90, 80, 112, 112], "100%")] * 3

    drawn = drawing._labels(boxes, 2.0, 1.4, (224, 224), "rft")

    places = [
        [float(plate[name]) for name in ("x", "y", "width", "height")]
        for label in drawn
        for plate in Elements(str(label)).named("rect")
    ]
    assert len(places) == len(boxes)
    for x, y, width, height in places:
        assert x >= 0 and y >= 0 and x + width <= 224.1 and y + height <= 224.1
    for number, (x, y, width, height) in enumerate(places):
        for a, b, c, d in places[:number]:
            assert x + width <= a + 0.11 or a + c <= x + 0.11 or y + height <= b + 0.11 or b + d <= y + 0.11


def test_models_that_did_not_answer_the_same_questions_are_not_compared(project):
    layout, params, cell = project
    path = layout.evaluation(cell, "sft") / "predictions.jsonl"
    io.write_jsonl(path, io.read_jsonl(path)[1:])

    with pytest.raises(InputError, match="answers other questions"):
        run_stage("report", layout, params, cell)


def test_metrics_named_without_their_presence_protocol_are_refused_with_the_way_out(project):
    layout, params, cell = project
    path = layout.evaluation(cell, "sft") / "metrics.json"
    io.write_json(path, json.loads(path.read_text().replace("/oracle/", "/")))

    with pytest.raises(InputError, match=f"has no 'lvis/oracle/AP'.*vrft run {cell.key}"):
        run_stage("report", layout, params, cell)

    path = layout.report(cell) / "metrics.json"
    shutil.copy(layout.evaluation(cell, "rft") / "metrics.json", layout.evaluation(cell, "sft") / "metrics.json")
    io.write_json(path, json.loads(path.read_text().replace("/oracle/", "/")))
    with pytest.raises(InputError, match=f"is about 'lvis/AP', not 'lvis/oracle/AP'; .* vrft run {cell.key}"):
        run_stage("study", layout, params, cell.at("study"))


def test_the_report_names_the_presence_protocol_wherever_it_names_ap(made):
    layout, params = made
    cell = params.cells()[0]

    text, summary = Elements(page(layout, cell)).text, (layout.report(cell) / "summary.md").read_text()

    assert numbers(layout, cell)["verdict"]["headline"].count("LVIS AP (oracle presence)") == 1
    assert "| lvis/oracle/AP |" in summary and "| coco/oracle/AP |" in summary
    for words in ("LVIS AP (oracle presence) decides", "LVIS AP (oracle presence), points of 100",
                  "Differences in LVIS AP (oracle presence)", "LVIS AP (oracle presence) by category"):  # fmt: skip
        assert words in text, words


def test_an_image_that_cannot_be_read_is_named(project):
    layout, params, cell = project
    for path in (layout.raw(cell) / "images").iterdir():
        path.write_bytes(path.read_bytes()[:60])

    with pytest.raises(InputError, match=r"\.png: does not decode"):
        run_stage("report", layout, params, cell)


@pytest.mark.slow
def test_a_model_that_says_nothing_and_a_split_without_rare_objects_still_make_a_page(project):
    layout, params, cell = project
    path = layout.raw(cell) / "annotations.json"
    data = io.read_json(path)
    rare = {c["id"] for c in data["categories"] if c["frequency"] == "r"}
    evaluated = {i["id"] for i in data["images"] if i["split"] == "eval"}
    data["annotations"] = [
        a for a in data["annotations"] if a["image_id"] not in evaluated or a["category_id"] not in rare
    ]
    io.write_json(path, data)
    for model in ("base", "sft", "rft"):
        rows = io.read_jsonl(layout.evaluation(cell, model) / "predictions.jsonl")
        silent = {"boxes": [], "scores": [], "rankings": {"likelihood": [], "certainty": []}, "completion": ""}
        rows = [row | silent for row in rows if row["category_id"] not in rare]
        write_rows(layout, params, cell if model != "base" else cell.at("setup"), model, rows)

    run_stage("report", layout, params, cell)

    assert numbers(layout, cell)["models"]["rft"]["lvis/oracle/APr"]["value"] is None
    assert "The model finds nothing on these images, before or after training" in page(layout, cell)
    assert 'class="nothing"' not in page(layout, cell)


def test_the_page_says_what_it_must(made):
    layout, params = made
    cell = params.cells()[0]
    text = Elements(page(layout, cell)).text

    record = io.read_json(layout.training(cell, "rft"))
    assert f"the one at step {record['chosen_step']} was evaluated" in " ".join(text.split())
    for words in (
        "CPU time", "Validation score at each checkpoint", "oracle", "OpenMoji", "CC BY-SA 4.0",
        f"vrft run {cell.key}", "Groups that teach nothing", "equal in “iou”", "the truth: the ceiling",
        "answer not closed",
    ):  # fmt: skip
        assert words in text, words


def test_the_summary_is_a_markdown_table_with_every_model_and_difference(made):
    layout, params = made
    cell = params.cells()[0]
    text = (layout.report(cell) / "summary.md").read_text()

    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "Base", "SFT", "RFT", "RFT − SFT", "RFT − Base", "SFT − Base"
    ]  # fmt: skip
    assert len({row.count("|") for row in rows}) == 1
    assert numbers(layout, cell)["verdict"]["headline"] in text


def test_a_study_pools_its_seeds(made):
    layout, params = made
    study = params.cells()[0].at("study")
    results = numbers(layout, study)
    cells = [numbers(layout, cell) for cell in params.cells()]

    each = [one["models"]["rft"]["lvis/oracle/AP"]["value"] for one in cells]
    assert results["models"]["rft"]["lvis/oracle/AP"]["value"] == pytest.approx(sum(each) / len(each))
    assert [one["models"]["rft"]["value"] for one in results["per_seed"]] == each
    assert results["models"]["base"]["lvis/oracle/AP"]["std"] == 0
    assert [one["differences"]["rft-sft"] for one in results["per_seed"]] == [
        one["differences"]["rft-sft"]["lvis/oracle/AP"] for one in cells
    ]
    assert results["verdict"]["headline"] in page(layout, study)


def test_a_line_chart_puts_points_in_proportion_and_rings_the_chosen_one():
    drawn = str(charts.lines("T", [Series("S", "sft", [(0, 0), (5, 50), (10, 100)], ring=5)], "x", "y"))

    [path] = re.findall(r'<path d="([^"]+)"[^>]*var\(--sft\); stroke-width: 2.2', drawn)
    (x0, y0), (x1, y1), (x2, y2) = ends(path)
    assert x0 < x1 < x2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 > y1 > y2
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    ring = re.search(r'<g class="ring">.*?<use x="([\d.]+)" y="([\d.]+)"', drawn)
    assert (float(ring[1]), float(ring[2])) == pytest.approx((x1, y1), abs=0.02)


def test_charts_escape_names_and_say_when_there_is_nothing_to_draw():
    hostile = "<script>$x$</script>\x00\u202e"

    drawn = [
        charts.lines(hostile, [Series(hostile, "s1", [(0, 1)])], hostile, hostile, level=(hostile, 1.0)),
        charts.bars(hostile, [Bars(hostile, {"rft": 3.0}, hostile)], {"rft": hostile}, hostile),
        charts.intervals(hostile, [Interval(hostile, "rft", 1.0, 0.5, 2.0)], hostile),
        charts.lines(hostile, [Series("a", "s1", [])], "x", "y"),
        charts.bars(hostile, [Bars("a", {"rft": None})], {"rft": "RFT"}, "u"),
        charts.intervals(hostile, [Interval("a", "rft", None, None, None)], "u"),
    ]

    assert not any("<script" in chart or "\x00" in chart or "\u202e" in chart for chart in drawn)
    assert ["nothing was recorded" in chart for chart in drawn] == [False] * 3 + [True] * 3


def test_bars_are_as_long_as_their_values():
    drawn = charts.bars("T", [Bars("a", {"base": 10.0, "rft": 40.0})], {"base": "Base", "rft": "RFT"}, "AP")

    base, rft = (ends(re.search(rf'<g class="bar {css}"><path d="([^"]+)"', drawn)[1]) for css in ("base", "rft"))
    assert rft[1][0] - rft[0][0] == pytest.approx(4 * (base[1][0] - base[0][0]), rel=0.01)


def test_a_chart_has_the_pages_colours_and_its_own_ids_and_is_the_same_each_time():
    one, again = (charts.lines("T", [Series("a", "rft", [(0, 0), (1, 1)])], "x", "y") for _ in range(2))
    other = charts.lines("T", [Series("a", "rft", [(0, 0), (1, 2)])], "x", "y")

    assert one == again
    assert "var(--rft)" in one and not re.search(r"#[0-9a-f]{6};|<style|<metadata|font-family", one)
    ids = [re.findall(r' id="([^"]+)"', chart) for chart in (one, other)]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    assert set(re.findall(r"(?:url\(#|href=\"#)([\w-]+)", one)) == set(ids[0])


def ends(path: str) -> list[tuple[float, float]]:
    """The points of an SVG path of straight lines."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
