"""Sending the records of one run to MLflow, in the thread of its `outbox`; the trained models they name."""

import json

from vrft_core.cell import Layout
from vrft_core.outbox import Unwanted, first_line

DVC_DIGEST, DVC_PATH = "dvc.md5", "dvc.path"  # tags of a model


class Sender:
    """Sends the records of one run, in the outbox's thread."""

    resumed = True

    def __init__(self, client, layout: Layout, run) -> None:
        self._client, self._layout, self._run, self.id = client, layout, run, run.info.run_id
        self._steps: dict[str, set[int]] = {}

    def send(self, record: dict) -> None:
        """Raises Unwanted for a record that MLflow will never take."""
        from mlflow.exceptions import MlflowException

        kinds = {
            "metrics": self._metrics, "params": self._params, "artifact": self._artifact, "dataset": self._dataset,
            "starting_weights": self._starting_weights, "model": self._model, "evaluation": self._evaluation,
            "tag": lambda record: self._client.set_tag(self.id, record["name"], record["value"]),
            "end": lambda record: self._client.set_terminated(self.id, record["status"]),
        }  # fmt: skip
        try:
            kinds[record["do"]](record)
        except (KeyError, TypeError, FileNotFoundError) as error:
            raise Unwanted(repr(error)) from None
        except MlflowException as error:
            if getattr(error, "error_code", "") in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                raise Unwanted(first_line(error)) from None
            raise

    def _metrics(self, record: dict) -> None:
        from mlflow.entities import Metric

        step, now = record["step"], record["time"]
        fresh = {name: value for name, value in record["values"].items() if step not in self._logged_steps(name)}
        if fresh:
            self._client.log_batch(self.id, [Metric(name, value, now, step) for name, value in fresh.items()])
        for name in fresh:
            self._steps[name].add(step)

    def _logged_steps(self, name: str) -> set[int]:
        if name not in self._steps:
            history = self._client.get_metric_history(self.id, name) if self.resumed else []
            self._steps[name] = {metric.step for metric in history}
        return self._steps[name]

    def _params(self, record: dict) -> None:
        from mlflow.entities import Param

        fresh = {name: text for name, text in record["values"].items() if name not in self._run.data.params}
        if fresh:
            self._client.log_batch(self.id, params=[Param(name, text[:6000]) for name, text in fresh.items()])
            self._run.data.params.update(fresh)

    def _artifact(self, record: dict) -> None:
        path = self._layout.root / record["path"]
        if not path.is_file():
            raise FileNotFoundError(str(path))
        self._client.log_artifact(self.id, str(path), record["folder"])

    def _dataset(self, record: dict) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": record["path"]})
        entry = Dataset(name=record["name"], digest=record["digest"], source_type="local", source=source)
        tags = [InputTag("mlflow.data.context", record["context"])]
        self._client.log_inputs(self.id, [DatasetInput(entry, tags)])

    def _starting_weights(self, record: dict) -> None:
        from mlflow.entities import LoggedModelInput

        if model_id := find_model(self._client, record["digest"]):
            self._client.log_inputs(self.id, models=[LoggedModelInput(model_id)])

    def _model(self, record: dict) -> None:
        tags = {DVC_DIGEST: record["digest"], DVC_PATH: record["path"]}
        find_or_make_model(self._client, self._run.info, record["name"], tags)

    def _evaluation(self, record: dict) -> None:
        from mlflow.entities import Metric

        known, now = self._client.get_run(self.id).data.metrics, record["time"]
        model_id = find_model(self._client, record["digest"])
        values = record["values"].items()
        batch = [Metric(n, v, now, 0, model_id=model_id) for n, v in values if known.get(n) != v]
        if batch:
            self._client.log_batch(self.id, batch)


def find_model(client, digest: str) -> str | None:
    """The newest model recorded under DVC's digest, in any experiment."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_logged_models(experiments, filter_string=f"tags.`{DVC_DIGEST}` = '{digest}'", max_results=1)
    return found[0].model_id if found else None


def find_or_make_model(client, info, name: str, tags: dict[str, str]) -> str:
    """Its id; made as an external model (its bytes lie elsewhere) unless this run has it already."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    same = f"source_run_id = '{info.run_id}' AND tags.`{DVC_DIGEST}` = '{tags[DVC_DIGEST]}'"
    if found := client.search_logged_models([info.experiment_id], filter_string=same, max_results=1):
        return found[0].model_id
    external = tags | {"mlflow.model.isExternal": "true"}
    model = client.create_logged_model(info.experiment_id, name, info.run_id, external, model_type="vision-language")
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(info.run_id, [LoggedModelOutput(model.model_id, 0)])
    return model.model_id
