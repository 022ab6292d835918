"""What the stages `sft` and `rft` share: run folder, tracking, training, the weights kept, the record written.

With several processes all train, and the main one alone writes and tracks.
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime

from vrft_core import io, provenance, tracking
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.policy.device import device, hardware, in_16_bits
from vrft_core.run_folder import open_run
from vrft_core.tasks import get_task
from vrft_core.training.checkpoints import drop_checkpoints
from vrft_core.training.loop import count_flops, count_parameters, describe, keep, train
from vrft_core.training.processes import processes
from vrft_core.training.record import ROLLOUTS


def run_training(layout: Layout, params: Params, cell: Cell, method: str, make_trainer: Callable) -> dict:
    recipe, task = params.recipe(cell), get_task(params.task(cell))
    settings, policy, prompts = getattr(recipe, method), layout.policy(cell), layout.prompts(cell)
    inputs = {name: provenance.directory_digest(path) for name, path in provenance.inputs(layout, cell, method).items()}
    made_from = {
        "settings": provenance.settings(params, cell, method),
        "inputs": inputs,
        "versions": provenance.versions(),
        "machine": {"device": device().type, "bf16": in_16_bits(recipe)},
    }
    assert cell.seed is not None, "a training belongs to a cell"
    state = processes()
    with state.main_process_first():  # which makes the run folder; the others find it
        run = open_run(layout.runs(cell, method), made_from)
    following = nullcontext() if not state.is_main_process else tracking.run(layout, params, cell, method)
    with following as tracked:
        record = train(
            make_trainer(recipe, task, run, cell.seed),
            settings,
            recipe,
            task,
            policy=policy,
            prompts=prompts,
            run=run,
            seed=cell.seed,
            what=f"{cell.key} {method}",
            log=lambda step, numbers: tracked.metrics(numbers, step) if tracked else None,  # the main process's job
        )
        if tracked is None:
            return {}
        model = layout.model(cell, method)
        chosen = keep(run, record, settings.checkpoint, policy, model)
        facts = {"method": method, "seed": cell.seed, "parameters": count_parameters(model, policy)}
        facts["git"] = provenance.git(layout.root)
        facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        facts["hardware"] = hardware(provenance.processor())
        facts["run"] = tracked.address or None
        facts["flops"] = count_flops(record, settings, policy, recipe.adapter is not None)
        io.write_json(
            layout.training(cell, method),
            describe(record, settings, chosen, validation_metric=task.metrics.VALIDATION, **facts),
        )
        tracked.artifact(layout.training(cell, method))
        if (run / ROLLOUTS).is_file():
            tracked.table(run / ROLLOUTS)
        tracked.model(f"{cell.key}-{method}", model, provenance.directory_digest(model))
    drop_checkpoints(run)
    score = {row["step"]: row["score"] for row in record.validation}[chosen]
    found = {} if score is None else {f"validation/{task.metrics.VALIDATION}": score}
    return {"chosen_step": chosen, **found, **record.cost}
