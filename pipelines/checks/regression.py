"""The nightly verdicts as asset checks: what the last night said of each cell, and whether there was one.

The verdicts are made in `vrft_core`; here they become checks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from vrft_core import nights
from vrft_core.cell import Layout
from vrft_core.params import Params

OTHERS = {
    "golden_training": "A few steps of training again: the same losses and rewards as recorded.",
    "adversarial_answers": "The fixed adversarial answers are paid as specified.",
    "data_suites": "The data contracts hold.",
}


def no_regression(asset: dg.AssetsDefinition, root: Path, params: Params) -> dg.AssetChecksDefinition:
    """One check a cell, and one for each of the other things a night looks at."""
    named = {f"no_regression_{_name(key)}": key for key in params.nightly.cells}
    about = "Not worse than the baseline (Holm's correction over all cells), and no slow drift."
    specs = [dg.AssetCheckSpec(name, asset=asset, description=about, blocking=True) for name in named]
    specs += [dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True) for name, text in OTHERS.items()]

    @dg.multi_asset_check(name="nightly_verdicts", specs=specs)
    def verdicts() -> Iterator[dg.AssetCheckResult]:
        past = nights.read(Layout(root))
        if not past:
            for name in [*named, *OTHERS]:
                yield dg.AssetCheckResult(
                    asset_key=asset.key, check_name=name, passed=False, description="no night has been recorded yet"
                )
            return
        night = past[-1]
        print(night["sentence"], flush=True)
        for name, key in named.items():
            row = night["cells"].get(key, {"verdict": "failed", "said": "was not part of this night"})
            yield dg.AssetCheckResult(
                asset_key=asset.key,
                check_name=name,
                passed=row["verdict"] == "good",
                description=row.get("said") or row["verdict"],
                metadata=_numbers(row),
            )
        for name, parts in {
            "golden_training": [night["golden"]],
            "adversarial_answers": list(night["rewards"].values()),
            "data_suites": [night["data"]],
        }.items():
            found = [part for part in parts if part is not None]
            yield dg.AssetCheckResult(
                asset_key=asset.key,
                check_name=name,
                passed=all(part["passed"] for part in found),
                description="; ".join(part["said"] for part in found if part["said"]) if found else "not run",
            )

    return verdicts


def fresh(asset: dg.AssetsDefinition, root: Path, params: Params) -> dg.AssetChecksDefinition:
    """One check a cell: evaluated within the last night. Dagster's own freshness is an asset's, not a cell's."""
    named = {f"fresh_{_name(key)}": key for key in params.nightly.cells}
    about = f"Evaluated within the last {nights.LATE.total_seconds() / 3600:.0f} hours."
    specs = [dg.AssetCheckSpec(name, asset=asset, description=about) for name in named]

    @dg.multi_asset_check(name="nightly_fresh", specs=specs)
    def freshness() -> Iterator[dg.AssetCheckResult]:
        past, now = nights.read(Layout(root)), datetime.now(UTC)
        for name, key in named.items():
            late = nights.missed(past, key, now)
            yield dg.AssetCheckResult(
                asset_key=asset.key, check_name=name, passed=late is None, description=late or "evaluated last night"
            )

    return freshness


def _name(key: str) -> str:
    """Dagster's names hold no hyphen."""
    return key.replace("-", "_")


def _numbers(row: dict) -> dict[str, float]:
    if "difference" not in row:
        return {}
    found = {"now": row["value"], "baseline": row["baseline"], "p": row["p"], "drift": row["drift"]["evidence"]}
    return found | {f"difference {end}": row["difference"][end] for end in ("value", "low", "high")}
