"""A nightly evaluation as a run."""

from collections.abc import Mapping

from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.locks import say
from vrft_core.tracking.addresses import page
from vrft_core.tracking.store import experiment, installed, open_store, public, tracking_uri
from vrft_core.tracking.values import is_number, now, points


def log_night(layout: Layout, night: Mapping) -> str | None:
    """A nightly evaluation as a finished run of the experiment `nightly`; the address of its page, None without a run.

    A store that cannot be reached costs a warning. Where the store is a file, the address is `make ui`'s.
    """
    if not installed():
        return None
    from mlflow.entities import Metric, RunTag

    numbers: dict[str, float | None] = {"passed": float(night["passed"])}
    for key, row in night["cells"].items():
        for name, entry in row.get("metrics", {}).items():
            numbers[f"{key}/{name}"] = points(entry["value"])
        if "difference" in row:
            numbers |= {f"{key}/difference/{end}": points(row["difference"][end]) for end in ("value", "low", "high")}
            numbers[f"{key}/p"] = row["p"]
    tags = {"verdict": "passed" if night["passed"] else "failed", "mlflow.note.content": night["sentence"][:5000]}
    tags |= {f"verdict.{key}": row["verdict"] for key, row in night["cells"].items()}
    tags |= {"mlflow.source.git.commit": night["commit"]} if night["commit"] else {}
    try:
        with open_store(layout) as client:
            where = experiment(client, layout, "nightly", "nightly")
            run = client.create_run(where, run_name=night["at"])
            metrics = [Metric(name, float(v), now(), 0) for name, v in numbers.items() if is_number(v)]
            client.log_batch(run.info.run_id, metrics, tags=[RunTag(name, text) for name, text in tags.items()])
            client.set_terminated(run.info.run_id, "FINISHED")
            return page(layout, public(tracking_uri(layout)), where, run.info.run_id)
    except InputError as error:
        say(f"{error}; the night is not recorded there")
        return None
