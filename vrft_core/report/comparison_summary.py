"""The Markdown of a comparison of two recipes: what came out, what it cost, what differs."""

import json
from typing import TYPE_CHECKING

from vrft_core.evaluation.scores import Ends
from vrft_core.report.comparison import EQUAL, GAINS, ComparisonResults
from vrft_core.report.panel import MODEL_NAMES, MODELS, TRAINED
from vrft_core.report.summary import pair_name
from vrft_core.report.text import brief
from vrft_core.report.verdict import points

if TYPE_CHECKING:
    from vrft_core.report.comparison import Cost, Metrics


def comparison_summary(results: ComparisonResults) -> str:
    """Three tables: the numbers with intervals, seed by seed, and FLOPs; then what the recipes do not share."""
    lines = [f"# {results['cell']} against {results['against']}", "", f"**{results['headline']}**"]
    lines += [" ".join(results["also"]), "", *_numbers(results), "", _measured(results)]
    lines += ["", f"{results['title']}, seed by seed, {results['recipe']} − {results['other']}:", "", *_seeds(results)]
    lines += ["", *_cost(results), "", "What the recipes do not share:", "", *_unlike(results)]
    return "\n".join(lines) + "\n"


def _numbers(results: ComparisonResults) -> list[str]:
    recipe, other = results["recipe"], results["other"]
    metrics = [name for name, _ in results["columns"]]
    rows: list[tuple[str, Metrics, bool]] = []
    for method in MODELS:
        rows += [(f"{MODEL_NAMES[method]}, {name}", results["models"][name][method], False) for name in (recipe, other)]
        rows.append((f"{MODEL_NAMES[method]}, difference", results["differences"][method], True))
    rows += [(f"{pair_name(pair)}, difference", results["gains"][pair], True) for pair in GAINS]
    lines = ["| | " + " | ".join(metrics) + " |", "|---|" + "---:|" * len(metrics)]
    for name, values, sign in rows:
        lines.append(f"| {name} | " + " | ".join(entry(values.get(metric), sign) for metric in metrics) + " |")
    return lines


def _measured(results: ComparisonResults) -> str:
    seeds = results["seeds"]
    covers = (
        f"the choice of {results['images']} evaluation images and of seeds; {len(seeds)} seeds: "
        f"{', '.join(map(str, seeds))}"
        if len(seeds) > 1
        else f"the choice of {results['images']} evaluation images alone; one seed: {seeds[0]}"
    )
    return (
        f"Points of 100; in brackets the 95 % interval over {covers}. {results['queries']} questions, the same for "
        "both: differences are paired. The last two rows compare what training added to each recipe's own base."
    )


def _seeds(results: ComparisonResults) -> list[str]:
    lines = ["| seed | Base | SFT | RFT |", "|---:|---:|---:|---:|"]
    for place, seed in enumerate(results["seeds"]):
        each = [results["differences"][method][results["metric"]].get("per_seed") or [] for method in MODELS]
        lines.append(f"| {seed} | " + " | ".join(points(values[place], True) for values in each) + " |")
    return lines


def _cost(results: ComparisonResults) -> list[str]:
    """The table of FLOPs, and a line where they are not equal."""
    recipe, other = results["recipe"], results["other"]
    lines = [f"| training | recipe | steps | FLOPs | of {other}'s |", "|---|---|---:|---:|---:|"]
    unequal = []
    for method in TRAINED:
        for name in (recipe, other):
            cost = results["cost"][name][method]
            known = cost["flops"] > 0
            shown = f"{brief(cost['flops'])} | {100 * cost['ratio']:.1f} %" if known else "– | –"
            lines.append(f"| {MODEL_NAMES[method]} | {name} | {cost['steps']} | {shown} |")
        unequal += _unequal(MODEL_NAMES[method], results["cost"][recipe][method])
    return [
        *lines,
        "",
        "FLOPs of all of the recipe's steps, an upper estimate from the tokens that were really read and written "
        "(`vrft_core/flops.py`), the mean over seeds; validation is not counted.",
        *unequal,
    ]


def _unequal(name: str, cost: "Cost") -> list[str]:
    if not cost["flops"] or abs(cost["ratio"] - 1) <= EQUAL:
        return []
    return [f"**{name} was not compared at equal FLOPs; {cost['equal_steps']} steps would be equal.**"]


def _unlike(results: ComparisonResults) -> list[str]:
    lines = [f"| parameter | {results['recipe']} | {results['other']} |", "|---|---|---|"]
    for name, values in results["unlike"].items():
        shown = ["–" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`" for value in values]
        lines.append(f"| `{name}` | {' | '.join(shown)} |")
    return lines


def entry(found: Ends | None, sign: bool) -> str:
    """A value with its interval, in points of 100."""
    if found is None or found["value"] is None:
        return "–"
    return f"{points(found['value'], sign)} [{points(found['low'], sign)}, {points(found['high'], sign)}]"
