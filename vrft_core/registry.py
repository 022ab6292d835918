"""Registered models in MLflow: one name for each benchmark and recipe, its versions, and which of them is the champion.

A version holds all that it takes to predict: merged weights (safetensors) and `served_model.py`, which needs nothing of
this project. Which version may become champion is decided by `commands.promote`.

Aliases: `champion` is what is used; `challenger` is the newest one that has not (yet) passed.
"""

import base64
import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from vrft_core import io, tracking
from vrft_core.cell import Layout
from vrft_core.errors import InputError

CHAMPION, CHALLENGER = "champion", "challenger"
BEFORE, SINCE, LEFT = "vrft.champion_before", "vrft.champion_since", "vrft.rolled_back"
NEEDS = ("mlflow", "transformers", "torch", "pillow", "accelerate")


@dataclass(frozen=True)
class Version:
    model: str
    number: str
    tags: Mapping[str, str]
    created: bool = False


def register(
    layout: Layout,
    model: str,
    description: str,
    tags: Mapping[str, str],
    form: Mapping[str, object],
    example: Mapping[str, object],
    write_weights: Callable[[Path], None],
) -> Version:
    """A version of `model` with these `tags`, one of which is the weights' digest; it becomes the challenger.

    A version of the same weights is found again instead of made twice. `write_weights(new folder)` writes the merged
    model; `form` is what `served_model` must know; `example`: {"question"}.
    """
    digest = tags[tracking.DVC_DIGEST]
    with tracking.open_store(layout) as client:
        _name(client, model, description)
        versions = client.search_model_versions(f"name = '{model}'")
        same = [version for version in versions if version.tags.get(tracking.DVC_DIGEST) == digest]
        if same:
            for name, text in tags.items():
                client.set_model_version_tag(model, same[0].version, name, text)
            return Version(model, same[0].version, {**same[0].tags, **tags})
        run = _run_of(client, digest)
    with tempfile.TemporaryDirectory(prefix="vrft-register-") as folder:
        saved = _save(Path(folder), form, example, write_weights)
        with tracking.open_store(layout) as client:
            from mlflow.entities import LoggedModelStatus

            info = (run or _own_run(client, layout, model)).info
            logged = client.create_logged_model(
                info.experiment_id, model, info.run_id, dict(tags), model_type="vision-language"
            )
            client.log_model_artifacts(logged.model_id, str(saved))
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
            made = client.create_model_version(  # not `models:/…`: MLflow would look for that in the store of its own
                model, logged.artifact_location, info.run_id, dict(tags), model_id=logged.model_id
            )
            client.set_registered_model_alias(model, CHALLENGER, made.version)
            return Version(model, made.version, dict(tags), created=True)


def promote(layout: Layout, version: Version) -> str | None:
    """Make the version champion; returns the number of the one before, None where there was none."""
    with tracking.open_store(layout) as client:
        before = _alias(client, version.model, CHAMPION)
        if before and before.version == version.number:
            return before.tags.get(BEFORE)
        client.set_registered_model_alias(version.model, CHAMPION, version.number)
        client.set_model_version_tag(version.model, version.number, SINCE, _now())
        if before:
            client.set_model_version_tag(version.model, version.number, BEFORE, before.version)
        challenger = _alias(client, version.model, CHALLENGER)
        if challenger and challenger.version == version.number:
            client.delete_registered_model_alias(version.model, CHALLENGER)
        return before.version if before else None


def roll_back(layout: Layout, model: str) -> tuple[str, str]:
    """Give the alias `champion` back to the version before; returns (the number that left, the one that is back).

    Raises InputError where there is no such model, no champion, or none before it.
    """
    with tracking.open_store(layout) as client:
        now = _alias(client, model, CHAMPION)
        before = now.tags.get(BEFORE) if now else None
        if now and before:
            client.set_registered_model_alias(model, CHAMPION, before)
            client.set_model_version_tag(model, now.version, LEFT, _now())
            return now.version, before
    if now is None:
        raise InputError(model, "no such model, or it has no champion", "promote a cell first: vrft promote CELL")
    raise InputError(model, f"version {now.version} is its first champion", "there is nothing to go back to")


def _name(client, model: str, description: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _alias(client, model: str, alias: str):
    """The version that carries it; None where none does, or there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            return None
        raise


def _run_of(client, digest: str):
    """The run that trained weights of this digest, in any experiment."""
    experiments = [one.experiment_id for one in client.search_experiments()]
    tag = f"tags.`{tracking.MODEL}` = '{digest}'"
    found = client.search_runs(experiments, tag, order_by=["start_time DESC"], max_results=1) if experiments else []
    return found[0] if found else None


def _own_run(client, layout: Layout, model: str):
    """Where the run that trained the weights is not known, as in a clone: a run for the registration itself."""
    run = client.create_run(tracking.experiment(client, layout, model), run_name=f"{model} registered")
    client.set_terminated(run.info.run_id)
    return run


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def log_traces(layout: Layout, version: Version, predictions: Sequence[Mapping[str, Any]]) -> None:
    """Predictions as MLflow traces with their images, tagged with the version, in its experiment.

    Each is {"name", "question", "image": bytes of a PNG, "answer", "expected", "numbers": {name: value}}.
    """
    with tracking.open_store(layout) as client, _global_store(tracking.tracking_uri(layout)):
        import mlflow

        made = client.get_model_version(version.model, version.number)
        experiment = client.get_run(made.run_id).info.experiment_id
        for one in predictions:
            address = f"data:image/png;base64,{base64.b64encode(one['image']).decode()}"
            content = [
                {"type": "text", "text": one["question"]},
                {"type": "image_url", "image_url": {"url": address}},
            ]
            span = client.start_trace(
                one["name"],
                span_type="LLM",
                inputs={"messages": [{"role": "user", "content": content}]},
                attributes={"expected": one["expected"], **one["numbers"]},
                tags={"vrft.model": f"{version.model}/{version.number}", "vrft.cell": version.tags["vrft.cell"]},
                experiment_id=experiment,
            )
            said = {"choices": [{"message": {"role": "assistant", "content": one["answer"]}}]}
            client.end_trace(span.trace_id, outputs=said)
        mlflow.flush_trace_async_logging()


@contextlib.contextmanager
def _global_store(uri: str) -> Iterator[None]:
    """MLflow's tracing knows only the process's own store; the former one is restored afterwards."""
    import mlflow

    name = "MLFLOW_TRACKING_URI"
    before = os.environ.get(name)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None: whatever the environment says
        if before is None:
            os.environ.pop(name, None)


def _save(folder: Path, form: Mapping, example: Mapping, write_weights: Callable[[Path], None]) -> Path:
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    write_weights(folder / "weights")
    io.write_json(folder / "form.json", dict(form))
    asked = Schema([ColSpec(DataType.binary, "image"), ColSpec(DataType.string, "question")])
    boxes = Array(Array(DataType.double))
    given = Schema([ColSpec(DataType.string, "text"), ColSpec(boxes, "boxes"), ColSpec(DataType.string, "label")])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # MLflow asks for type hints, beside the signature
        mlflow.pyfunc.save_model(
            str(folder / "model"),
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"weights": str(folder / "weights"), "form": str(folder / "form.json")},
            signature=ModelSignature(asked, given),
            pip_requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in NEEDS],
            metadata={"question": example["question"]},
        )
    return folder / "model"
