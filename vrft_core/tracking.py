"""Runs in MLflow: one for each trained model, found again when a stage is tried again. `registry` registers models.

Weights stay with DVC; MLflow holds the record and small files. What is worth recording is decided by the stages.

Where: `MLFLOW_TRACKING_URI`, else `mlflow.db` and `mlartifacts/` in the project root. A store that cannot be reached
stops a stage at its start, with one line, before anything has been spent. Later failures never stop or delay
a training: records wait on disk (`outbox`), one warning is printed, and they are sent again from time to time, at the
end, and by `vrft track --resend`. Where MLflow is not installed nothing is recorded, and one line says so.
"""

import contextlib
import fcntl
import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard
from urllib.parse import urlsplit

from vrft_core import costs, io, provenance
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.locks import say
from vrft_core.outbox import Outbox, Unwanted, first_line, waiting
from vrft_core.params import Params

NOTES = {  # of experiments
    "nightly": "One run a night: every champion evaluated again. Metrics are points of 100.",
    "pretraining": "Pre-training of the starting weights. Results lie in the experiments named after benchmarks.",
    "benchmark": "Base, SFT and RFT on this benchmark. Metrics are points of 100; `interval/…` are the ends of 95 % "
    "intervals, `train/…` the curves of the training.",
}
# beginnings of names: of curves in MLflow, of faults' shares and of scores in a training log
TRAIN, FAULTS, VALIDATION, INTERVAL = "train/", "answers/", "validation/", "interval/"
KEY, CODE, MODEL = "vrft.key", "vrft.code", "vrft.model_digest"  # tags of a run
DVC_DIGEST, DVC_PATH = "dvc.md5", "dvc.path"  # tags of a model
PAUSE = 30.0  # seconds between attempts while the store is away
PATIENCE = 10.0  # seconds without success after which sending stops at the end

_NOTES = {
    "policy": "Pre-training of the starting weights `{key}`.",
    "base": "The untouched starting weights on `{key}`: evaluation only.",
    "sft": "Supervised fine-tuning of `{key}`, and its evaluation.",
    "rft": "Reinforcement fine-tuning (GRPO) of `{key}`, and its evaluation. Rollouts: see the artifacts.",
}


@contextlib.contextmanager
def run(layout: Layout, params: Params, cell: Cell, stage: str, computed: bool = True) -> Iterator["Run | _Off"]:
    """The run of the model that `stage` (policy, sft, rft) trains; its settings and inputs are recorded at once.

    The run is found by cell, stage and a fingerprint of settings and input digests. An unfinished one is continued,
    and so is a finished one unless this package's code has changed since: that is another training.
    An exception in the block marks the run FAILED (KILLED for Ctrl-C); a hard kill leaves it RUNNING until the retry.
    `computed`: it is computed in the block, whose cost is recorded; else that of the last result, where it is known.
    Raises InputError when the store cannot be reached.
    """
    if not _installed():
        yield _Off()
        return
    settings = provenance.settings(params, cell, stage)
    inputs = provenance.inputs(layout, cell, stage)
    digests = {name: provenance.directory_digest(path) for name, path in inputs.items()}
    key = f"{cell.key}/{stage}/{provenance.fingerprint({'settings': settings, 'inputs': digests})}"
    with _store(layout) as client:
        record = Run(client, layout, *_find_or_create(client, layout, cell, stage, key), name=f"{cell.key}-{stage}")
    _note_address(layout, record, cell.key, stage)
    record.params(settings)
    if inputs:
        prompts = inputs["prompts"]
        record.dataset(prompts.relative_to(layout.root).as_posix(), digests["prompts"], prompts)
        record.starting_weights(digests["policy"])
    meter = costs.Meter()
    try:
        yield record
    except BaseException as error:
        record.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    noted = costs.cost_file(layout, cell, stage)
    spent = costs.so_far(noted, meter.read()) if computed else costs.latest(noted) or {}
    for name in (*costs.SUMS, *costs.PEAKS):
        if name in spent:
            record.tag(f"cost.{name}", f"{spent[name]:.12g}")
    record.close("FINISHED")


def log_evaluation(layout: Layout, params: Params, cell: Cell, method: str, metrics: Mapping[str, object]) -> None:
    """Add a model's evaluation to its own run, so that one table compares base, SFT and RFT.

    `metrics` maps a name to {"value", "low", "high"} or to a number; undefined values (null) are left out. The
    untouched model gets one run for each benchmark, beside those it is compared with. Its answers are kept as a file.
    A store that cannot be reached costs a warning, not the evaluation.
    """
    if not _installed():
        return
    directory = layout.model(cell, method)
    digest = provenance.directory_digest(directory)
    try:
        with _store(layout) as client:
            where = _experiment(client, layout, cell)
            found = client.search_runs([where], f"tags.`{MODEL}` = '{digest}'", order_by=["start_time DESC"])
            if found:
                record = Run(client, layout, found[0], True, name=f"{cell.key}-{method}")
            else:
                key = f"{cell.key}/{method}/{digest}"
                record = Run(
                    client, layout, *_find_or_create(client, layout, cell, method, key), name=f"{cell.key}-{method}"
                )
                record.tag(MODEL, digest)
    except InputError as error:
        return say(f"{error}; the evaluation of {cell.key} {method} is not recorded there")
    annotations = layout.raw(cell) / "annotations.json"
    record.dataset(
        annotations.relative_to(layout.root).as_posix(),
        provenance.file_digest(annotations),
        annotations,
        context="evaluation",
    )
    record.evaluation(metrics, digest)
    for name in ("metrics.json", "predictions.jsonl"):
        if (path := layout.evaluation(cell, method) / name).is_file():
            record.artifact(path, "evaluation")
    _note_address(layout, record, cell.key, method)
    record.close(None if found else "FINISHED")


def log_report(layout: Layout, cell: Cell, methods: Sequence[str]) -> None:
    """Add a cell's report, with its images, to the runs of the models that were trained for it.

    A store that cannot be reached costs a warning, not the report.
    """
    if not _installed():
        return
    for method in methods:
        directory = layout.model(cell, method)
        if not directory.is_dir():
            continue
        try:
            digest = provenance.directory_digest(directory)
            with _store(layout) as client:
                where = _experiment(client, layout, cell)
                found = client.search_runs([where], f"tags.`{MODEL}` = '{digest}'", order_by=["start_time DESC"])
                if not found:  # trained where another store was in use
                    continue
                record = Run(client, layout, found[0], True, name=f"{cell.key}-{method}")
        except InputError as error:
            return say(f"{error}; the report of {cell.key} is not recorded there")
        for path in sorted(layout.report(cell).iterdir()):
            record.artifact(path, "report")
        record.close(None)


def recorded(layout: Layout, cell: Cell, method: str) -> bool:
    """Whether a run of this very model is known with its evaluation."""
    digest = provenance.directory_digest(layout.model(cell, method))
    with _store(layout) as client:
        where = _experiment(client, layout, cell)
        found = client.search_runs([where], f"tags.`{MODEL}` = '{digest}'", order_by=["start_time DESC"])
    return any(name.startswith(INTERVAL) for run in found for name in run.data.metrics)


def address(layout: Layout, key: str, method: str) -> str | None:
    """The page of the run in which a stage or an evaluation was last recorded, None where there is no such record.

    `key`: of the cell, or of the wider scope that the method belongs to. Where the store is a file, it is `make ui`'s.
    """
    try:
        found = io.read_json(_addresses(layout) / f"{key}-{method}.json")
        return _address(layout, found["uri"], found["experiment"], found["run"])
    except (InputError, OSError, KeyError, TypeError):
        return None


def _note_address(layout: Layout, record: "Run", key: str, method: str) -> None:
    with contextlib.suppress(OSError):
        io.write_json(
            _addresses(layout) / f"{key}-{method}.json",
            {"uri": _public(tracking_uri(layout)), "experiment": record.experiment, "run": record.id},
        )


def log_night(layout: Layout, night: Mapping) -> str | None:
    """A nightly evaluation as a finished run of the experiment `nightly`; the address of its page, None without a run.

    A store that cannot be reached costs a warning. Where the store is a file, the address is `make ui`'s.
    """
    if not _installed():
        return None
    from mlflow.entities import Metric, RunTag

    numbers: dict[str, float | None] = {"passed": float(night["passed"])}
    for key, row in night["cells"].items():
        for name, entry in row.get("metrics", {}).items():
            numbers[f"{key}/{name}"] = _points(entry["value"])
        if "difference" in row:
            numbers |= {f"{key}/difference/{end}": _points(row["difference"][end]) for end in ("value", "low", "high")}
            numbers[f"{key}/p"] = row["p"]
    tags = {"verdict": "passed" if night["passed"] else "failed", "mlflow.note.content": night["sentence"][:5000]}
    tags |= {f"verdict.{key}": row["verdict"] for key, row in night["cells"].items()}
    tags |= {"mlflow.source.git.commit": night["commit"]} if night["commit"] else {}
    try:
        with _store(layout) as client:
            where = experiment(client, layout, "nightly", "nightly")
            run = client.create_run(where, run_name=night["at"])
            metrics = [Metric(name, float(v), _now(), 0) for name, v in numbers.items() if _is_number(v)]
            client.log_batch(run.info.run_id, metrics, tags=[RunTag(name, text) for name, text in tags.items()])
            client.set_terminated(run.info.run_id, "FINISHED")
            return _address(layout, _public(tracking_uri(layout)), where, run.info.run_id)
    except InputError as error:
        say(f"{error}; the night is not recorded there")
        return None


class Run:
    """One MLflow run. Every method may be called again with the same values: nothing is recorded twice.

    No method waits for MLflow: records go through an `Outbox`.
    """

    def __init__(self, client, layout: Layout, run, resumed: bool, name: str, outbox: str | None = None) -> None:
        self.id, self.name, self.experiment = run.info.run_id, name, run.info.experiment_id
        self.address = _address(layout, _public(tracking_uri(layout)), self.experiment, self.id)
        self._faults: set[str] = set()
        self._layout = layout
        head = {"run": self.id, "name": name, "uri": _public(tracking_uri(layout))}
        sender = _Sender(client, layout, run)
        self._outbox = Outbox(_outboxes(layout), outbox or self.id, head, sender.send, PAUSE)
        self.left_over = self._outbox.left_over
        self.resumed = sender.resumed = resumed or self.left_over > 0

    def metrics(self, values: Mapping[str, object], step: int) -> None:
        """Numbers of one training step, in one request; what is not a number is left out, steps already there too.

        Validation scores become points. A fault that answers had before and have no more is 0, and so is one just
        before it is first seen: a curve without these points would look flat.
        """
        numbers = {name: float(v) for name, v in values.items() if _is_number(v)}
        faults = {name for name in numbers if name.startswith(FAULTS)}
        if faults:
            if (new := faults - self._faults) and self._faults:
                before = {f"{TRAIN}{name}": 0.0 for name in new}
                self._outbox.put({"do": "metrics", "values": before, "step": step - 1, "time": _now()})
            self._faults |= faults
            numbers = dict.fromkeys(self._faults, 0.0) | numbers
        scores = {name: _points(v) for name, v in numbers.items() if name.startswith(VALIDATION)}
        numbers = {f"{TRAIN}{name}": v for name, v in numbers.items() if name not in scores} | scores
        self._outbox.put({"do": "metrics", "values": numbers, "step": step, "time": _now()})

    def params(self, values: Mapping[str, object]) -> None:
        """Settings, nested ones as `rft.learning_rate`; one that is already recorded stays as it was."""
        self._outbox.put({"do": "params", "values": _flat(values)})

    def tag(self, name: str, value: str) -> None:
        self._outbox.put({"do": "tag", "name": name, "value": value})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy one small file to the run. Raises InputError when it is not there."""
        if not Path(path).is_file():
            raise InputError(path, "no such file", "write it before it is recorded")
        self._outbox.put({"do": "artifact", "path": self._relative(path), "folder": folder})

    def table(self, path: Path) -> None:
        """The rollouts (JSON lines) as a file under `rollouts/`."""
        self.artifact(path, "rollouts")

    def dataset(self, name: str, digest: str, path: Path, context: str = "training") -> None:
        """A data set this run read, by its path in the project and DVC's digest; no bytes are copied."""
        where = self._relative(path)
        self._outbox.put({"do": "dataset", "name": name, "digest": digest, "path": where, "context": context})

    def starting_weights(self, digest: str) -> None:
        """The model this training begins with: a tag, and a link where MLflow knows a model of that digest."""
        self.tag("vrft.starting_weights", digest)
        self._outbox.put({"do": "starting_weights", "digest": digest})

    def model(self, name: str, directory: Path, digest: str) -> None:
        """Record the trained model, whose bytes DVC keeps; `digest` is `provenance.directory_digest(directory)`.

        Registering one that can be loaded is `registry`'s.
        """
        self.tag(MODEL, digest)
        record = {"do": "model", "name": name.replace("/", "-"), "path": self._relative(directory), "digest": digest}
        self._outbox.put(record)

    def evaluation(self, metrics: Mapping[str, object], digest: str) -> None:
        """See `log_evaluation`: values in [0, 1], recorded as points.

        `digest` ties the numbers to the model recorded under it, wherever it was trained.
        """
        numbers = {}
        for name, value in metrics.items():
            parts = value if isinstance(value, Mapping) else {"value": value}
            numbers[name] = parts.get("value")
            numbers |= {f"{INTERVAL}{name}/{end}": parts.get(end) for end in ("low", "high")}
        numbers = {name: _points(v) for name, v in numbers.items() if _is_number(v)}
        self._outbox.put({"do": "evaluation", "values": numbers, "digest": digest, "time": _now()})

    def flush(self) -> int:
        """Try to send what waits; how many records still do."""
        return self._outbox.flush(PATIENCE)

    def close(self, status: str | None) -> int:
        """Send what waits and end the run (None: no change); prints and returns how many records wait on disk."""
        if status:
            self._outbox.put({"do": "end", "status": status})
        left = self._outbox.close(PATIENCE)
        if left:
            say(f"{left} records of {self.name} did not reach MLflow; `vrft track --resend` sends them")
        return left

    def _relative(self, path: Path) -> str:
        path, root = Path(path).resolve(), self._layout.root.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


class _Off:
    """In place of a run where MLflow is not installed: takes everything, keeps nothing."""

    resumed, address = False, ""

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("_") or not hasattr(Run, name):
            raise AttributeError(name)
        return lambda *_, **__: 0


class _Sender:
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

        if model_id := _model_id(self._client, record["digest"]):
            self._client.log_inputs(self.id, models=[LoggedModelInput(model_id)])

    def _model(self, record: dict) -> None:
        tags = {DVC_DIGEST: record["digest"], DVC_PATH: record["path"]}
        _logged_model(self._client, self._run.info, record["name"], tags)

    def _evaluation(self, record: dict) -> None:
        from mlflow.entities import Metric

        known, now = self._client.get_run(self.id).data.metrics, record["time"]
        model_id = _model_id(self._client, record["digest"])
        values = record["values"].items()
        batch = [Metric(n, v, now, 0, model_id=model_id) for n, v in values if known.get(n) != v]
        if batch:
            self._client.log_batch(self.id, batch)


def resend(layout: Layout) -> list[str]:
    """Send what earlier processes could not; a line for each run. Raises InputError when MLflow does not answer."""
    if not _installed():
        raise InputError("mlflow", "is not installed", "pip install mlflow")
    lines, here = [], _public(tracking_uri(layout))
    for path, head in list(waiting(_outboxes(layout))):
        if head.get("uri") != here:
            lines.append(f"{path.name}: is for {head.get('uri')}, not for {here}; set MLFLOW_TRACKING_URI and repeat")
            continue
        with _store(layout) as client:
            found = client.get_run(head["run"])
        record = Run(client, layout, found, True, name=head["name"], outbox=path.stem)
        count, left = record.left_over, record.close(None)
        lines.append(f"{head['name']}: {count - left} of {count} records sent")
    return lines or ["nothing waits to be sent"]


@contextlib.contextmanager
def _store(layout: Layout) -> Iterator:
    """An MLflow client; trouble in the block becomes one line. Two stages may start at once: a lock guards the file."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would print the password in it
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    }.items():
        os.environ.setdefault(name, value)
    if not _installed():
        raise InputError("mlflow", "is not installed", "pip install mlflow")
    from mlflow import MlflowClient

    uri = tracking_uri(layout)
    try:
        with _only_one(layout) if uri.startswith("sqlite:") else contextlib.nullcontext():
            if "MLFLOW_TRACKING_URI" not in os.environ:
                _take_along(layout)
            yield MlflowClient(uri, uri)
    except Exception as error:
        raise InputError(
            _public(uri),
            f"MLflow cannot be reached: {first_line(error)}",
            "start the server, or unset MLFLOW_TRACKING_URI to keep the runs in mlflow.db",
        ) from error


open_store = _store


def _public(uri: str) -> str:
    """The address without a password."""
    address = urlsplit(uri).netloc
    return uri.replace(address, address.rpartition("@")[2]) if address else uri


def _address(layout: Layout, uri: str, experiment: str, run: str) -> str:
    """Of a run's page: on the server, or where the store is a file, on `make ui`'s."""
    pages = uri if uri.startswith("http") else f"http://127.0.0.1:{os.environ.get('VRFT_MLFLOW_PORT', 5000)}"
    return f"{pages.rstrip('/')}/#/experiments/{experiment}/runs/{run}"


def _outboxes(layout: Layout) -> Path:
    return layout.root / "runs/tracking"


def _addresses(layout: Layout) -> Path:
    return layout.root / "runs/mlflow"


def _installed() -> bool:
    global _told
    try:
        import mlflow  # noqa: F401
    except ImportError:
        if not _told:
            _told = True
            say("MLflow is not installed: nothing is recorded there")
        return False
    return True


_told = False


def _take_along(layout: Layout) -> None:
    """MLflow writes absolute paths into its file. In a project that was copied or moved they name the old place, and
    new artifacts would go there: they are made to name this one."""
    path, here = layout.root.resolve() / "mlflow.db", (layout.root.resolve() / "mlartifacts").as_uri()
    if not path.is_file():
        return
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as store:
        tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        places = [
            ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
            ("model_versions", "source"), ("model_versions", "storage_location"),
        ]  # fmt: skip
        if not {table for table, _ in places} <= tables:
            return
        rows = store.execute("SELECT artifact_location, name FROM experiments").fetchall()
        moved = {
            location.removesuffix(f"/{name}")
            for location, name in rows
            if location and location.startswith("file:") and location.endswith(f"/mlartifacts/{name}")
        } - {here}
        for old in moved:
            for table, column in places:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (here, len(old) + 1, len(old) + 1, f"{old}/"),
                )
            say(f"mlflow.db comes from {old.removesuffix('/mlartifacts')}: its artifacts are looked for here now")
        store.commit()


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
    return experiment(client, layout, cell.benchmark or cell.recipe, "benchmark" if cell.benchmark else "pretraining")


def experiment(client, layout: Layout, name: str, note: str = "benchmark") -> str:
    """Its id; made where there is none of that name. `note`: which of `NOTES` it then carries."""
    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    local = tracking_uri(layout).startswith("sqlite:")
    artifacts = (layout.root.resolve() / "mlartifacts" / name).as_uri() if local else None
    return client.create_experiment(name, artifact_location=artifacts, tags={"mlflow.note.content": NOTES[note]})


def _find_or_create(client, layout: Layout, cell: Cell, stage: str, key: str) -> tuple[object, bool]:
    """(run, whether it was there before)."""
    where, code = _experiment(client, layout, cell), provenance.source_digest()
    for found in client.search_runs([where], f"tags.`{KEY}` = '{key}'", order_by=["start_time DESC"], max_results=1):
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
    return client.create_run(where, run_name=f"{cell.key}-{stage}", tags=tags), False


def _model_id(client, digest: str) -> str | None:
    """The newest model recorded under DVC's digest, in any experiment."""
    experiments = [one.experiment_id for one in client.search_experiments()]
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


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    rows = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + str(name)] = value if isinstance(value, str) else json.dumps(value)
    return rows


def _points(value: float | None) -> float | None:
    """A share in [0, 1] as points of 100, with two decimals."""
    return round(100 * value, 2) if _is_number(value) else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _now() -> int:
    """Milliseconds, as MLflow counts."""
    return int(time.time() * 1000)
