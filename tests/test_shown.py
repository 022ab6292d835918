"""What Dagster's pages say of an asset and of what was made: words, numbers in points, links, previews."""

import re
import subprocess
from pathlib import Path

import dagster as dg
import pytest
from plausible_results import plausible_project
from small_project import CELL, ROOT
from starlette.requests import Request

from pipelines import front_page, shown, webserver
from pipelines.source_links import Source
from pipelines.texts import STAGE_TEXTS, benchmark_text, stage_text
from vrft_core import io, tracking
from vrft_core.costs import cost_file
from vrft_core.report import tables
from vrft_core.stages import STAGES
from vrft_core.stages.report import report
from vrft_core.tasks import load_params, names

pytestmark = pytest.mark.slow  # a policy is made, or a report

COMMIT = re.compile("[0-9a-f]{40}")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A cell with its report; nothing was trained, the answers are invented."""
    layout, params = plausible_project(tmp_path_factory.mktemp("shown"))
    report(layout, params, params.parse_cell(CELL))
    return layout, params


def said(project, stage: str, **reported) -> dict:
    layout, params = project
    found = shown.metadata(layout.root, params, params.parse_cell(CELL), stage, reported)
    return {name: getattr(value, "value", value) for name, value in found.items()}


@pytest.mark.parametrize("task", names())
@pytest.mark.parametrize("stage", STAGES)
def test_every_description_says_what_goes_in_what_comes_out_and_what_is_good(task, stage):
    text = stage_text("my", task, stage, "First line.", "vrft stage")
    for part in ("**First line.**", "**Goes in:**", "**Comes out:**", "**Good:**", "`vrft stage`"):
        assert part in text
    assert "{" not in text


def test_assets_that_a_description_names_are_there():
    own = {"raw", "few_shot", "prompts", "policy", "base_eval", "sft_model", "rft_model", "sft_eval", "rft_eval"}
    named = {name for parts in STAGE_TEXTS.values() for part in parts for name in re.findall(r"\{p\}_(\w+)", part)}
    assert named <= own | {"report", "study"}


def test_a_benchmark_says_its_task_its_data_and_its_partitions_as_params_yaml_names_them():
    params = load_params(ROOT / "params.yaml")
    text = benchmark_text(params, "lvis", ["mini-1shot-s0"])
    assert "Detection:" in text and "drawn here" in text and "`mini-1shot-s0`" in text


def test_the_deciding_number_comes_first_in_points_with_its_interval(project):
    layout, params = project
    found = said(
        project, "rft_eval", seconds=1.23456789, cached=True, **{"lvis/oracle/AP": 12.0, "coco/oracle/AP": 9.5}
    )
    first, low, high = list(found)[:3]
    assert first.startswith("LVIS AP") and low == f"{first}, low end" and high == f"{first}, high end"
    kept = io.read_json(layout.evaluation(params.parse_cell(CELL), "rft") / "metrics.json")["metrics"]
    [known] = [entry for name, entry in kept.items() if name == "lvis/oracle/AP"]
    assert [found[first], found[low], found[high]] == [round(100 * known[end], 2) for end in ("value", "low", "high")]
    assert "lvis/oracle/AP" not in found and found["coco/oracle/AP"] == 9.5
    assert found["seconds"] == 1.235 and found["cached"] is True


def test_the_table_holds_every_model_that_is_evaluated(project):
    lines = said(project, "rft_eval")["result"].splitlines()
    assert lines[0] == "| points | RFT | Base | SFT |"
    assert re.fullmatch(r"\| LVIS AP \| \d+\.\d \[\d+\.\d, \d+\.\d\]( \| \d+\.\d){2} \|", lines[2])


def test_a_report_gives_its_verdict_its_differences_and_its_images(project):
    layout, _ = project
    found = said(project, "report", verdict="old", page="old", **{"lvis/oracle/AP/rft-sft": 0.123456789})
    assert found["verdict"] != "old" and "lvis/oracle/AP/rft-sft" not in found and "page" not in found
    [name] = [name for name in found if re.fullmatch(r"RFT − SFT, LVIS AP .*\)", name)]
    assert found[name] == round(found[name], 2)
    for preview in ("learning curve", "examples"):
        [path] = re.findall(r"\]\(/vrft/(data_docs/previews/[^?]+)\?[0-9a-f]{12}\)", found[preview])
        assert (layout.root / path).read_text().startswith("<svg")
    assert found["report"] == "/vrft/reports/lvis-mini-1shot/s0/report/report.html"


def test_data_and_trainings_have_previews_and_one_that_cannot_be_drawn_fails_nothing(project, capsys):
    layout, _ = project
    assert "few_shot-images.jpg" in said(project, "few_shot")["images"]
    assert "rft-learning-curve.svg" in said(project, "rft")["learning curve"]
    record = layout.training(project[1].parse_cell(CELL), "sft")
    kept = record.read_text()
    record.write_text("{")
    assert "learning curve" not in said(project, "sft")
    assert "no preview `learning curve` of sft" in capsys.readouterr().out
    record.write_text(kept)


def test_a_stage_cost_what_it_counted_itself_where_its_executor_saw_less(project):
    layout, params = project
    file = cost_file(layout, params.parse_cell(CELL), "rft")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('{"ended": "done", "seconds": 60, "cpu_seconds": 50.0, "peak_memory_mb": 900}\n')

    found = said(project, "rft", cpu_seconds=dg.FloatMetadataValue(0.3), peak_memory_mb=1000)

    assert (found["cpu_seconds"], found["peak_memory_mb"]) == (50, 1000)


def test_where_mlflow_recorded_a_run_its_page_is_linked(project, monkeypatch):
    layout, _ = project
    monkeypatch.setenv("VRFT_MLFLOW_PORT", "5017")
    assert "MLflow run" not in said(project, "rft_eval")
    path = layout.root / "runs/mlflow" / f"{CELL}-rft.json"
    io.write_json(path, {"uri": "sqlite:///mlflow.db", "experiment": "3", "run": "abc"})
    assert said(project, "rft_eval")["MLflow run"] == "http://127.0.0.1:5017/#/experiments/3/runs/abc"
    path.write_text('{"uri": 1}')
    assert tracking.address(layout, CELL, "rft") is None
    path.unlink()


def test_all_studies_are_in_one_table_and_what_is_missing_is_named(project):
    layout, params = project
    assert tables.write(layout, params) == 0
    text = (tables.folder(layout) / "summary.md").read_text()
    assert "Not made yet: lvis-mini-1shot." in text
    assert "Not made yet: lvis-mini-1shot." in (tables.folder(layout) / "index.html").read_text()


def test_the_front_page_leads_to_what_is_there_and_holds_no_script(project):
    layout, _ = project
    page = front_page.html(layout.root)
    assert f'<article id="{CELL}">' in page and "/vrft/reports/lvis-mini-1shot/s0/report/report.html" in page
    assert "/vrft/reports/studies" not in page and "Not made yet: vrft run lvis-mini-1shot" in page
    assert "<script" not in page


def test_a_verdict_on_the_front_page_is_text(project):
    layout, params = project
    path = layout.report(params.parse_cell(CELL)) / "metrics.json"
    kept = io.read_json(path)
    io.write_json(path, kept | {"verdict": {**kept["verdict"], "headline": "<script>alert(1)</script>"}})
    assert "<script" not in front_page.html(layout.root)
    io.write_json(path, kept)


def repository(root: Path, remote: str = "") -> Source:
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", root, *command], check=True)
    if remote:
        subprocess.run(["git", "-C", root, "remote", "add", "origin", remote], check=True)
    return Source.of(root)


@pytest.mark.parametrize(
    ("remote", "link"),
    [
        ("", "/vrft/code/{}/a%20b.py"),
        ("git@github.com:me/it.git", "https://github.com/me/it/blob/{}/a%20b.py"),
        ("https://me:secret@gitlab.com/us/it", "https://gitlab.com/us/it/-/blob/{}/a%20b.py"),
        ("https://github.com.evil.example/me/it", "/vrft/code/{}/a%20b.py"),
    ],
)
def test_code_is_linked_at_the_commit_where_it_can_be_seen(tmp_path, remote, link):
    (tmp_path / "a b.py").write_text("")
    source = repository(tmp_path, remote)
    assert COMMIT.fullmatch(source.commit)
    assert source.link(["a b.py"])["code"].url == link.format(source.commit)
    assert source.link(["c.py"]) == {} and source.link([]) == {}


def test_of_a_project_in_a_folder_of_its_repository_code_is_linked_and_shown_too(tmp_path):
    root = tmp_path / "work/a project"
    root.mkdir(parents=True)
    (root / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 2\n")
    repository(tmp_path, "https://github.com/me/it")
    source = Source.of(root)
    place = f"https://github.com/me/it/blob/{source.commit}/work/a%20project/a.py"
    assert source.link(["a.py"])["code"].url == place
    assert [one.url for one in source.references(["a.py"]).code_references[1:]] == [place]

    def shown(file: str) -> tuple[int, bytes]:
        asked = {"type": "http", "headers": [], "path_params": {"commit": source.commit, "file": file}}
        response = webserver.Code(root)(Request(asked))
        return response.status_code, response.body

    assert shown("a.py") == (200, b"x = 1") and shown("b.py")[0] == 404 and shown("work/a project/a.py")[0] == 404


def test_without_git_code_opens_in_an_editor_alone(tmp_path):
    source = Source.of(tmp_path)
    assert source.link(["a.py"]) == {}
    [reference] = source.references(["a.py"]).code_references
    assert isinstance(reference, dg.LocalFileCodeReference) and reference.file_path == str(tmp_path / "a.py")
