"""Running Great Expectations over data frames: verdicts for Dagster, pages for people.

Importing this module is cheap; calling it imports great_expectations (seconds).
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vrft_core.pauses import pause

COLUMNS = ("column", "column_A", "column_B")
ONE = threading.Lock()  # great_expectations has one current context a process


@dataclass(frozen=True)
class Verdict:
    """One suite's result. `broken`: expectations that failed, with the first values that break them; `kept`: others."""

    passed: bool
    critical: bool
    expectations: int
    rows: int
    broken: tuple[str, ...]
    kept: tuple[str, ...] = ()


def validate(frames: dict[str, pd.DataFrame], suites: dict, pages: Path | None = None) -> dict[str, Verdict]:
    """Check each frame against its suite; with `pages`, write Data Docs (index.html) there."""
    with ONE:
        return _validate(frames, suites, pages)


def _validate(frames: dict[str, pd.DataFrame], suites: dict, pages: Path | None) -> dict[str, Verdict]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    if pages:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(pages)}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        for site in list(context.get_site_names()):
            context.delete_data_docs_site(site)
        context.add_data_docs_site(
            "pages", {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store}
        )
    source = context.data_sources.add_pandas("frames")
    verdicts = {}
    for name, expectations in suites.items():
        pause(0)  # a run that is interrupted does not wait for the next one
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format="SUMMARY")
        outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frames[name]})
        (result,) = outcome.run_results.values()
        verdicts[name] = _verdict(result, frames[name])
    if pages:
        context.build_data_docs()
    return verdicts


def _verdict(result, frame: pd.DataFrame) -> Verdict:
    failed = [one for one in result.results if not one.success]
    return Verdict(
        passed=not failed,
        critical=any(one.expectation_config.severity.value == "critical" for one in failed),
        expectations=len(result.results),
        rows=len(frame),
        broken=tuple(_describe(one, frame) for one in failed),
        kept=tuple(_name(one.expectation_config) for one in result.results if one.success),
    )


def _name(config) -> str:
    """`expect_column_values_to_be_between x1: min_value 0`."""
    columns = [str(config.kwargs[name]) for name in COLUMNS if name in config.kwargs]
    others = {name: value for name, value in config.kwargs.items() if name not in (*COLUMNS, "batch_id")}
    more = ", ".join(f"{name} {value}" for name, value in others.items() if isinstance(value, int | float | str | list))
    return " ".join([config.type, *columns]) + (f": {more}" if more else "")


def _describe(one, frame: pd.DataFrame) -> str:
    """`expect_column_values_to_be_unique id: 2 rows, such as [7, 7]`."""
    config, result = one.expectation_config, one.result or {}
    columns = [str(config.kwargs[name]) for name in COLUMNS if name in config.kwargs]
    if "unexpected_count" in result:
        seen = f"{result['unexpected_count']} rows, such as {_plain(result.get('partial_unexpected_list', []))}"
    elif one.exception_info.get("exception_message"):
        seen = one.exception_info["exception_message"]
    else:  # a rule about the whole table: the rows that should not be there
        seen = f"{len(frame)} rows, such as {frame.head(3).to_dict('records')}"
    return f"{config.type} {' '.join(columns)}: {seen}"


def _plain(values: list) -> list:
    """Without NumPy's type names."""
    return [
        tuple(getattr(v, "item", lambda v=v: v)() for v in value)
        if isinstance(value, tuple)
        else getattr(value, "item", lambda value=value: value)()
        for value in values[:5]
    ]
