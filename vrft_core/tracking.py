"""The only file that talks to MLflow: one run for each trained model, found again when a stage is tried again.

Weights stay with DVC; MLflow holds the record and small files. What is worth recording is decided by the stages.

Where: `MLFLOW_TRACKING_URI`, else `mlflow.db` and `mlartifacts/` in the project root. A store that cannot be reached
stops a stage at its start, with one line, before anything has been spent. Later trouble never does: writes wait,
one warning is printed, and they are tried again from time to time and at the end.
"""

import contextlib
import fcntl
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlsplit

from vrft_core import provenance
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.params import Params

KEY, CODE, MODEL = "vrft.key", "vrft.code", "vrft.model_digest"  # tags of a run
DVC_DIGEST, DVC_PATH = "dvc.md5", "dvc.path"  # tags of a model
ALIAS = "newest"  # on the registry's latest version ("latest" itself is MLflow's own word)
PAUSE = 30.0  # seconds between attempts while the store is away

_NOTES = {
    "policy": "Pre-training of the starting weights `{key}`.",
    "base": "The untouched starting weights on `{key}`: evaluation only.",
    "sft": "Supervised fine-tuning of `{key}`, and its evaluation.",
    "rft": "Reinforcement fine-tuning (GRPO) of `{key}`, and its evaluation. Rollouts: see the artifacts.",
}


@contextlib.contextmanager
def run(layout: Layout, params: Params, cell: Cell, stage: str) -> Iterator["Run"]:
    """The run of the model that `stage` (policy, sft, rft) trains; its settings and inputs are recorded at once.

    The run is found by cell, stage and a fingerprint of settings and input digests. An unfinished one is continued,
    and so is a finished one unless this package's code has changed since: that is another training.
    An exception in the block marks the run FAILED (KILLED for Ctrl-C); a hard kill leaves it RUNNING until the retry.
    Raises InputError when the store cannot be reached.
    """
    settings = provenance.settings(params, cell, stage)
    inputs = provenance.inputs(layout, cell, stage)
    digests = {name: provenance.directory_digest(path) for name, path in inputs.items()}
    key = f"{cell.key}/{stage}/{provenance.fingerprint({'settings': settings, 'inputs': digests})}"
    with _store(layout) as client:
        record = Run(client, layout, *_find_or_create(client, layout, cell, stage, key), name=f"{cell.key}-{stage}")
    record.params(settings)
    if inputs:
        prompts = inputs["prompts"]
        record.dataset(prompts.relative_to(layout.root).as_posix(), digests["prompts"], prompts)
        record.starting_weights(digests["policy"])
    try:
        yield record
    except BaseException as error:
        record.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    record.close("FINISHED")


def log_evaluation(layout: Layout, params: Params, cell: Cell, method: str, metrics: Mapping[str, object]) -> None:
    """Add a model's evaluation to its own run, so that one table compares base, SFT and RFT.

    `metrics` maps a name to {"value", "low", "high"} or to a number; undefined values (null) are left out. The
    untouched model gets one run for each benchmark, beside those it is compared with. A store that cannot be reached
    costs a warning, not the evaluation.
    """
    directory = layout.model(cell, method)
    digest = provenance.directory_digest(directory)
    try:
        with _store(layout) as client:
            experiment = _experiment(client, layout, cell)
            found = client.search_runs([experiment], f"tags.`{MODEL}` = '{digest}'", order_by=["start_time DESC"])
            if found:
                record = Run(client, layout, found[0], True, name=f"{cell.key}-{method}")
            else:
                key = f"{cell.key}/{method}/{digest}"
                record = Run(
                    client, layout, *_find_or_create(client, layout, cell, method, key), name=f"{cell.key}-{method}"
                )
                record.tag(MODEL, digest)
    except InputError as error:
        return _warn(f"{error}; the evaluation of {cell.key} {method} is not recorded there")
    annotations = layout.raw(cell) / "annotations.json"
    record.dataset(
        annotations.relative_to(layout.root).as_posix(),
        provenance.file_digest(annotations),
        annotations,
        context="evaluation",
    )
    record.evaluation(metrics, digest)
    record.close(None if found else "FINISHED")


class Run:
    """One MLflow run. Every method may be called again with the same values: nothing is recorded twice."""

    def __init__(self, client, layout: Layout, run, resumed: bool, name: str) -> None:
        self.id, self.resumed, self.name = run.info.run_id, resumed, name
        self._client, self._layout, self._run = client, layout, run
        self._steps: dict[str, set[int]] = {}
        self._waiting: deque[Callable[[], None]] = deque()
        self._retry_at = 0.0
        self._warned = False

    def metrics(self, values: Mapping[str, object], step: int) -> None:
        """Numbers of one training step, in one request; what is no number is left out, steps already there too."""
        numbers = {name: float(v) for name, v in values.items() if _is_number(v)}
        now = int(time.time() * 1000)

        def send() -> None:
            from mlflow.entities import Metric

            fresh = {name: value for name, value in numbers.items() if step not in self._logged_steps(name)}
            if fresh:
                self._client.log_batch(self.id, [Metric(name, value, now, step) for name, value in fresh.items()])
            for name in fresh:
                self._steps[name].add(step)

        self._do(send)

    def params(self, values: Mapping[str, object]) -> None:
        """Settings, nested ones as `rft.learning_rate`; one that is already recorded stays as it was."""

        def send() -> None:
            from mlflow.entities import Param

            fresh = {name: text for name, text in _flat(values).items() if name not in self._run.data.params}
            if fresh:
                self._client.log_batch(self.id, params=[Param(name, text[:6000]) for name, text in fresh.items()])
                self._run.data.params.update(fresh)

        self._do(send)

    def tag(self, name: str, value: str) -> None:
        self._do(lambda: self._client.set_tag(self.id, name, value))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy one small file to the run. Raises InputError when it is not there."""
        if not Path(path).is_file():
            raise InputError(path, "no such file", "write it before it is recorded")
        self._do(lambda: self._client.log_artifact(self.id, str(path), folder))

    def table(self, path: Path) -> None:
        """The rollouts (JSON lines) as a file under `rollouts/`."""
        self.artifact(path, "rollouts")

    def dataset(self, name: str, digest: str, path: Path, context: str = "training") -> None:
        """A data set this run read, by its path in the project and DVC's digest; no bytes are copied."""

        def send() -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            source = json.dumps({"uri": self._relative(path)})
            entry = Dataset(name=name, digest=digest, source_type="local", source=source)
            self._client.log_inputs(self.id, [DatasetInput(entry, [InputTag("mlflow.data.context", context)])])

        self._do(send)

    def starting_weights(self, digest: str) -> None:
        """The model this training begins with: a tag, and a link where MLflow knows a model of that digest."""

        def send() -> None:
            from mlflow.entities import LoggedModelInput

            if model_id := _model_id(self._client, digest):
                self._client.log_inputs(self.id, models=[LoggedModelInput(model_id)])

        self.tag("vrft.starting_weights", digest)
        self._do(send)

    def model(self, name: str, directory: Path, digest: str) -> None:
        """Record the trained model and register it as a version of `name`, pointing at DVC's bytes.

        `digest` is `provenance.directory_digest(directory)`. The newest version carries the alias `newest`.
        """
        name = name.replace("/", "-")
        where = self._relative(directory)
        tags = {DVC_DIGEST: digest, DVC_PATH: where}

        def send() -> None:
            model_id = _logged_model(self._client, self._run.info, name, tags)
            _register(self._client, self.id, name, where, tags, model_id)

        self.tag(MODEL, digest)
        self._do(send)

    def evaluation(self, metrics: Mapping[str, object], digest: str) -> None:
        """See `log_evaluation`; `digest` ties the numbers to the model recorded under it, wherever it was trained."""
        numbers = {}
        for name, value in metrics.items():
            parts = value if isinstance(value, Mapping) else {"value": value}
            numbers[name] = parts.get("value")
            numbers |= {f"interval/{name}/{end}": parts.get(end) for end in ("low", "high")}
        numbers = {name: float(v) for name, v in numbers.items() if _is_number(v)}
        now = int(time.time() * 1000)

        def send() -> None:
            from mlflow.entities import Metric

            known = self._client.get_run(self.id).data.metrics
            model_id = _model_id(self._client, digest)
            batch = [Metric(n, v, now, 0, model_id=model_id) for n, v in numbers.items() if known.get(n) != v]
            if batch:
                self._client.log_batch(self.id, batch)

        self._do(send)

    def close(self, status: str | None) -> None:
        """Send what waits and end the run (None leaves it as it is); says how much was lost if the store is away."""
        self._retry_at = 0.0
        self._do(lambda: self._client.set_terminated(self.id, status) if status else None)
        if self._waiting:
            _warn(f"{len(self._waiting)} records of run {self.name} did not reach MLflow")

    def _do(self, send: Callable[[], None]) -> None:
        """Send in order; on trouble keep everything and go on."""
        from mlflow.exceptions import MlflowException

        self._waiting.append(send)
        if time.monotonic() < self._retry_at:
            return
        while self._waiting:
            try:
                self._waiting[0]()
            except (MlflowException, OSError) as error:
                if getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE":
                    raise
                self._retry_at = time.monotonic() + PAUSE
                if not self._warned:
                    self._warned = True
                    _warn(f"MLflow does not answer ({_first_line(error)}); records of {self.name} wait for it")
                return
            self._waiting.popleft()

    def _logged_steps(self, name: str) -> set[int]:
        if name not in self._steps:
            history = self._client.get_metric_history(self.id, name) if self.resumed else []
            self._steps[name] = {metric.step for metric in history}
        return self._steps[name]

    def _relative(self, path: Path) -> str:
        path, root = Path(path).resolve(), self._layout.root.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@contextlib.contextmanager
def _store(layout: Layout) -> Iterator:
    """An MLflow client; trouble in the block becomes one line. Two stages may start at once: a lock guards the file."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri = tracking_uri(layout)
    try:
        with _only_one(layout) if uri.startswith("sqlite:") else contextlib.nullcontext():
            yield MlflowClient(uri, uri)
    except Exception as error:
        address = urlsplit(uri).netloc
        host = address.rpartition("@")[2]  # no password on the terminal
        raise InputError(
            uri.replace(address, host),
            f"MLflow cannot be reached: {_first_line(error).replace(address, host)}",
            "start the server, or unset MLFLOW_TRACKING_URI to keep the runs in mlflow.db",
        ) from error


def tracking_uri(layout: Layout) -> str:
    """`MLFLOW_TRACKING_URI`, else the project's own file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{layout.root.resolve() / 'mlflow.db'}"


@contextlib.contextmanager
def _only_one(layout: Layout) -> Iterator[None]:
    with open(layout.root / "mlflow.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _experiment(client, layout: Layout, cell: Cell) -> str:
    """Its id. One experiment a benchmark; starting weights, which belong to none, lie under their recipe."""
    name = cell.benchmark or cell.recipe
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    local = tracking_uri(layout).startswith("sqlite:")
    artifacts = (layout.root.resolve() / "mlartifacts" / name).as_uri() if local else None
    return client.create_experiment(name, artifact_location=artifacts)


def _find_or_create(client, layout: Layout, cell: Cell, stage: str, key: str) -> tuple[object, bool]:
    """(run, whether it was there before)."""
    experiment, code = _experiment(client, layout, cell), provenance.source_digest()
    for found in client.search_runs(
        [experiment], f"tags.`{KEY}` = '{key}'", order_by=["start_time DESC"], max_results=1
    ):
        if found.info.status != "FINISHED" or found.data.tags.get(CODE) == code:
            client.set_tag(found.info.run_id, CODE, code)
            client.update_run(found.info.run_id, status="RUNNING")
            return found, True
    commit = provenance.git(layout.root)
    tags = {
        KEY: key, CODE: code, "stage": stage, "cell": cell.key, "benchmark": cell.benchmark, "recipe": cell.recipe,
        "shots": cell.shots, "seed": cell.seed, "mlflow.source.name": f"vrft stage {stage} --cell {cell.key}",
        "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": commit and commit["commit"],
        "git.dirty": commit and commit["dirty"], "mlflow.note.content": _NOTES[stage].format(key=cell.key),
    }  # fmt: skip
    tags = {name: str(value) for name, value in tags.items() if value is not None}
    return client.create_run(experiment, run_name=f"{cell.key}-{stage}", tags=tags), False


def _model_id(client, digest: str) -> str | None:
    """The newest model recorded under DVC's digest, in any experiment."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_logged_models(experiments, filter_string=f"tags.`{DVC_DIGEST}` = '{digest}'", max_results=1)
    return found[0].model_id if found else None


def _logged_model(client, info, name: str, tags: dict[str, str]) -> str:
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


def _register(client, run_id: str, name: str, where: str, tags: dict[str, str], model_id: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name, description=f"Weights at `{where}`, kept by DVC; each version names its digest."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}'")
    same = [v for v in versions if v.run_id == run_id and v.tags.get(DVC_DIGEST) == tags[DVC_DIGEST]]
    version = same[0] if same else client.create_model_version(name, f"dvc://{where}", run_id, tags, model_id=model_id)
    client.set_registered_model_alias(name, ALIAS, version.version)


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    rows = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + str(name)] = value if isinstance(value, str) else json.dumps(value)
    return rows


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _warn(text: str) -> None:
    print(f"vrft: {text}", file=sys.stderr, flush=True)
