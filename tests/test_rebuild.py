"""`vrft track --rebuild`: after a clone and `dvc pull`, MLflow's runs are made of the files that came."""

import pytest
from tracked import curve, trained_project  # noqa: F401 - fixtures
from tracked import runs as every_run

from vrft_core import cli, io, provenance, tracking

pytestmark = pytest.mark.slow  # MLflow makes its tables
METRICS = {"coco/AP": {"value": 0.4, "low": 0.35, "high": 0.45}, "coco/AR": {"value": None, "low": None, "high": None}}


@pytest.fixture
def pulled(project):
    """(layout, params, cell) as DVC brings a cell: a model after RFT and the untouched one, both evaluated."""
    layout, params, cell = project
    for own, method in ((cell.at("setup"), "base"), (cell, "rft")):
        io.write_json(layout.evaluation(own, method) / "metrics.json", {"metrics": METRICS})
        io.write_jsonl(layout.evaluation(own, method) / "predictions.jsonl", [{"completion": "nothing"}])
    record = {
        "log": [{"step": 1, "loss": 0.5, "reward": 0.25}, {"step": 2, "loss": 0.4, "reward": 0.5}],
        "validation": [{"step": 2, "score": 0.125}], "validation_metric": "coco/AP",
    }  # fmt: skip
    io.write_json(layout.training(cell, "rft"), record)
    layout.report(cell).mkdir(parents=True)
    (layout.report(cell) / "index.html").write_text("<p>report</p>")
    return layout, params, cell


def test_curves_settings_results_and_report_are_there_again_and_nothing_twice(pulled, capsys):
    layout, params, cell = pulled
    rebuild = ["--root", str(layout.root), "track", "--rebuild"]
    assert cli.main(rebuild) == 0
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == sorted([f"{cell.at('setup').key} base: recorded", f"{cell.key} rft: recorded"])

    def found() -> dict:
        with tracking.open_store(layout) as client:
            return {run.info.run_name: run for run in every_run(client)}

    runs = found()
    assert set(runs) == {f"{cell.at('setup').key}-base", f"{cell.key}-rft"}
    result = {"coco/AP": 40.0, "interval/coco/AP/low": 35.0, "interval/coco/AP/high": 45.0}
    trained, untouched = runs[f"{cell.key}-rft"], runs[f"{cell.at('setup').key}-base"]
    assert untouched.data.metrics == result and untouched.info.status == trained.info.status == "FINISHED"
    last = {"train/loss": 0.4, "train/reward": 0.5, "validation/coco/AP": 12.5}  # each at its last step
    assert trained.data.metrics == result | last
    assert trained.data.params["rft.learning_rate"] == str(params.recipe(cell).rft.learning_rate)
    assert trained.data.tags[tracking.MODEL] == provenance.directory_digest(layout.model(cell, "rft"))
    assert not [name for name in trained.data.tags if name.startswith("cost.")], "what it cost is not known here"
    with tracking.open_store(layout) as client:
        assert curve(client, trained, "train/loss") == [(1, 0.5), (2, 0.4)]
        kept = {file.path for folder in ("", "evaluation", "report")
                for file in client.list_artifacts(trained.info.run_id, folder)}  # fmt: skip
    assert {"rft_training.json", "evaluation/metrics.json", "evaluation/predictions.jsonl", "report/index.html"} <= kept

    assert cli.main(rebuild) == 0
    assert capsys.readouterr().out == "MLflow knows every model that is evaluated here\n"
    assert {name: run.info.run_id for name, run in found().items()} == {n: run.info.run_id for n, run in runs.items()}


def test_what_was_recorded_in_shares_of_1_is_recorded_again_in_points(pulled, capsys):
    layout, _, cell = pulled
    shares = {"coco/AP": 0.4, "interval/coco/AP/low": 0.35, "interval/coco/AP/high": 0.45}
    with tracking.open_store(layout) as client:  # as version 0.1 did
        place = client.create_experiment(cell.benchmark)
        for method in ("base", "rft"):
            tags = {tracking.MODEL: provenance.directory_digest(layout.model(cell, method))}
            old = client.create_run(place, tags=tags, run_name=f"old-{method}")
            for name, value in shares.items():
                client.log_metric(old.info.run_id, name, value)
            client.set_terminated(old.info.run_id)

    rebuild = ["--root", str(layout.root), "track", "--rebuild"]
    assert cli.main(rebuild) == 0
    assert capsys.readouterr().out.count(": recorded\n") == 2

    with tracking.open_store(layout) as client:
        values = {run.info.run_name: run.data.metrics["coco/AP"] for run in every_run(client)}
    assert values == {"old-base": 40.0, "old-rft": 0.4, f"{cell.key}-rft": 40.0}
    assert cli.main(rebuild) == 0
    assert capsys.readouterr().out == "MLflow knows every model that is evaluated here\n"


def test_without_mlflow_answering_one_line_says_so(pulled, monkeypatch, capsys):
    layout, *_ = pulled
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hush@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert cli.main(["--root", str(layout.root), "track", "--rebuild"]) == 2
    said = capsys.readouterr().err
    assert "MLflow cannot be reached" in said and "hush" not in said and said.count("\n") == 1
