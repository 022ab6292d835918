"""What a run in MLflow holds, against a real sqlite store."""

import pytest
from tracked import curve, recorded_models, runs, store_of_the_project, trained_project  # noqa: F401 - fixtures

from vrft_core import costs, provenance, tracking


def test_a_run_holds_settings_inputs_curve_rollouts_and_the_trained_model(project, store):
    layout, params, cell = project
    rollouts = layout.root / "rollouts.jsonl"
    rollouts.write_text('{"completion": "<answer>[]</answer>", "reward": 0.0}\n')
    digest = provenance.directory_digest(layout.model(cell, "rft"))

    with tracking.run(layout, params, cell, "rft") as run:
        run.metrics({"reward": 0.25, "loss": 0.5, "note": "no number", "kl": float("nan")}, 1)
        run.table(rollouts)
        run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)

    [found] = runs(store)
    assert (found.info.run_name, found.info.status) == (f"{cell.key}-rft", "FINISHED")
    assert run.address.endswith(f"/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}")
    assert found.data.metrics == {"train/reward": 0.25, "train/loss": 0.5}
    assert found.data.params["rft.learning_rate"] == str(params.recipe(cell).rft.learning_rate)
    assert found.data.params["seed"] == str(cell.seed)
    inputs = {entry.dataset.name: entry.dataset.digest for entry in found.inputs.dataset_inputs}
    assert inputs == {f"data/prompts/{cell.key}": provenance.directory_digest(layout.prompts(cell))}
    assert found.data.tags["vrft.starting_weights"] == provenance.directory_digest(layout.policy(cell))
    assert [file.path for file in store.list_artifacts(found.info.run_id, "rollouts")] == ["rollouts/rollouts.jsonl"]
    [model] = recorded_models(store)
    assert (model.source_run_id, model.tags["dvc.md5"]) == (found.info.run_id, digest)
    assert model.tags["dvc.path"] == f"models/{cell.key}/rft"
    assert store.search_registered_models() == [], "only what can be loaded is registered"


def test_a_training_that_is_recorded_later_costs_what_its_stage_noted_and_nothing_where_that_is_not_known(
    project, store
):
    layout, params, cell = project
    with tracking.run(layout, params, cell, "rft", computed=False):
        pass
    [found] = runs(store)
    assert not [name for name in found.data.tags if name.startswith("cost.")], "as after a clone and `dvc pull`"

    noted = costs.cost_file(layout, cell, "rft")
    noted.parent.mkdir(parents=True, exist_ok=True)
    noted.write_text('{"ended": "done", "seconds": 500, "cpu_seconds": 400, "peak_memory_mb": 900}\n')
    with tracking.run(layout, params, cell, "rft", computed=False):
        pass
    [found] = runs(store)
    assert (found.data.tags["cost.seconds"], found.data.tags["cost.cpu_seconds"]) == ("500", "400")


@pytest.mark.slow
def test_a_training_is_linked_to_the_run_that_made_its_starting_weights(project, store):
    layout, params, cell = project
    with tracking.run(layout, params, cell.at("recipe"), "policy") as run:
        run.model("mini-policy", layout.policy(cell), provenance.directory_digest(layout.policy(cell)))

    with tracking.run(layout, params, cell, "rft"):
        pass

    policy, rft = (store.get_run(run.info.run_id) for run in runs(store))
    assert [given.model_id for given in rft.inputs.model_inputs] == [
        made.model_id for made in policy.outputs.model_outputs
    ]


def test_evaluations_land_on_the_trained_models_run_and_beside_the_untouched_model(project, store):
    layout, params, cell = project
    digest = provenance.directory_digest(layout.model(cell, "rft"))
    with tracking.run(layout, params, cell, "rft") as run:
        run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)

    undefined = {"value": None, "low": None, "high": None}
    for _ in range(2):
        trained = {"lvis/oracle/AP": {"value": 0.45, "low": 0.4, "high": 0.5}, "lvis/oracle/APr": undefined}
        tracking.log_evaluation(layout, params, cell, "rft", trained)
        tracking.log_evaluation(layout, params, cell.at("setup"), "base", {"lvis/oracle/AP": 0.34})

    found = {run.info.run_name: run for run in runs(store)}
    assert set(found) == {f"{cell.key}-rft", f"{cell.at('setup').key}-base"}
    trained = found[f"{cell.key}-rft"]
    assert trained.data.metrics == {
        "lvis/oracle/AP": 45.0,
        "interval/lvis/oracle/AP/low": 40.0,
        "interval/lvis/oracle/AP/high": 50.0,
    }
    assert curve(store, trained, "lvis/oracle/AP") == [(0, 45.0)]
    [model] = store.search_logged_models([trained.info.experiment_id], filter_string=f"tags.`dvc.md5` = '{digest}'")
    assert ("lvis/oracle/AP", 45.0) in [(metric.key, metric.value) for metric in model.metrics]


def test_a_fault_that_comes_late_or_goes_away_has_zeros_in_its_curve(project, store):
    layout, params, cell = project
    with tracking.run(layout, params, cell, "rft") as run:
        for step, faults in enumerate(({"faulty": 0.0}, {"faulty": 0.5, "truncated": 0.5}, {"faulty": 0.0}), 1):
            run.metrics({f"answers/{name}": share for name, share in faults.items()}, step)
        run.metrics({"validation/coco/AP": 0.123456}, 3)
    [found] = runs(store)
    assert sorted(curve(store, found, "train/answers/truncated")) == [(1, 0.0), (2, 0.5), (3, 0.0)]
    assert curve(store, found, "validation/coco/AP") == [(3, 12.35)]


def test_a_models_run_holds_its_answers_and_its_report_and_its_page_is_known(project, store):
    layout, params, cell = project
    digest = provenance.directory_digest(layout.model(cell, "rft"))
    with tracking.run(layout, params, cell, "rft") as run:
        run.model(f"{cell.key}-rft", layout.model(cell, "rft"), digest)
    for path in (layout.evaluation(cell, "rft") / "predictions.jsonl", layout.report(cell) / "report.html"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert not tracking.recorded(layout, cell, "rft")
    tracking.log_evaluation(layout, params, cell, "rft", {"lvis/oracle/AP": {"value": 0.4, "low": 0.3, "high": 0.5}})
    tracking.log_report(layout, cell, ["rft"])

    [found] = runs(store)
    names = [one.path for folder in ("evaluation", "report") for one in store.list_artifacts(found.info.run_id, folder)]
    assert names == ["evaluation/predictions.jsonl", "report/report.html"]
    assert tracking.recorded(layout, cell, "rft")
    where = f"http://127.0.0.1:5000/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"
    assert tracking.address(layout, cell.key, "rft") == where
