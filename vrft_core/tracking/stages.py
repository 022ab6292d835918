"""The runs of stages: one for each trained model, found again when a stage is tried again."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from vrft_core import costs, provenance
from vrft_core.cell import Cell, Layout
from vrft_core.errors import InputError
from vrft_core.locks import say
from vrft_core.params import Params
from vrft_core.tracking.addresses import note_address
from vrft_core.tracking.record import INTERVAL, MODEL, Off, Run
from vrft_core.tracking.store import experiment_of, installed, open_store

KEY, CODE = "vrft.key", "vrft.code"  # tags
_NOTES = {
    "policy": "Pre-training of the starting weights `{key}`.",
    "base": "The untouched starting weights on `{key}`: evaluation only.",
    "sft": "Supervised fine-tuning of `{key}`, and its evaluation.",
    "rft": "Reinforcement fine-tuning (GRPO) of `{key}`, and its evaluation. Rollouts: see the artifacts.",
}


@contextlib.contextmanager
def run(layout: Layout, params: Params, cell: Cell, stage: str, computed: bool = True) -> Iterator["Run | Off"]:
    """The run of the model that `stage` (policy, sft, rft) trains; its settings and inputs are recorded at once.

    The run is found by cell, stage and a fingerprint of settings and input digests. An unfinished one is continued,
    and so is a finished one unless this package's code has changed since: that is another training.
    An exception in the block marks the run FAILED (KILLED for Ctrl-C); a hard kill leaves it RUNNING until the retry.
    `computed`: it is computed in the block, whose cost is recorded; else that of the last result, where it is known.
    Raises InputError when the store cannot be reached.
    """
    if not installed():
        yield Off()
        return
    settings = provenance.settings(params, cell, stage)
    inputs = provenance.inputs(layout, cell, stage)
    digests = {name: provenance.directory_digest(path) for name, path in inputs.items()}
    key = f"{cell.key}/{stage}/{provenance.fingerprint({'settings': settings, 'inputs': digests})}"
    with open_store(layout) as client:
        record = Run(client, layout, *find_or_create(client, layout, cell, stage, key), name=f"{cell.key}-{stage}")
    note_address(layout, cell.key, stage, record.experiment, record.id)
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
    if not installed():
        return
    directory = layout.model(cell, method)
    digest = provenance.directory_digest(directory)
    try:
        with open_store(layout) as client:
            where = experiment_of(client, layout, cell)
            found = client.search_runs([where], f"tags.`{MODEL}` = '{digest}'", order_by=["start_time DESC"])
            if found:
                record = Run(client, layout, found[0], True, name=f"{cell.key}-{method}")
            else:
                key = f"{cell.key}/{method}/{digest}"
                record = Run(
                    client, layout, *find_or_create(client, layout, cell, method, key), name=f"{cell.key}-{method}"
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
    note_address(layout, cell.key, method, record.experiment, record.id)
    record.close(None if found else "FINISHED")


def log_report(layout: Layout, cell: Cell, methods: Sequence[str]) -> None:
    """Add a cell's report, with its images, to the runs of the models that were trained for it.

    A store that cannot be reached costs a warning, not the report.
    """
    if not installed():
        return
    for method in methods:
        directory = layout.model(cell, method)
        if not directory.is_dir():
            continue
        try:
            digest = provenance.directory_digest(directory)
            with open_store(layout) as client:
                where = experiment_of(client, layout, cell)
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
    """Whether a run of this very model is known with its evaluation in points: version 0.1 recorded shares."""
    digest = provenance.directory_digest(layout.model(cell, method))
    with open_store(layout) as client:
        where = experiment_of(client, layout, cell)
        found = client.search_runs([where], f"tags.`{MODEL}` = '{digest}'", order_by=["start_time DESC"])
    return any(_in_points(run.data.metrics) for run in found)


def _in_points(metrics: Mapping[str, float]) -> bool:
    """Upper ends of intervals tell: as shares none is above 1, as points they are, unless all is 0."""
    ends = [value for name, value in metrics.items() if name.startswith(INTERVAL) and name.endswith("/high")]
    return bool(ends) and (max(ends) > 1 or not any(ends))


def find_or_create(client, layout: Layout, cell: Cell, stage: str, key: str) -> tuple[object, bool]:
    """(run, whether it was there before)."""
    where, code = experiment_of(client, layout, cell), provenance.source_digest()
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
