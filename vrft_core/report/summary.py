"""The Markdown summary: the headline and the tables, for a terminal, a commit or a README."""

from vrft_core.evaluation.scores import Ends
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.rows import CellResults, StudyResults
from vrft_core.report.verdict import PAIRS, blank, points


def summary(results: CellResults | StudyResults, note: str) -> str:
    """Markdown of a cell's or a study's results. `note`: what the task adds to the small print."""
    measured = results["measured"]
    metrics = [name for name, _ in results["columns"]]
    lines = [
        f"# {results['cell']}",
        "",
        f"**{results['verdict']['headline']}**",
        " ".join(results["verdict"]["also"]),
        "",
    ]
    if line := blank(results):
        return "\n".join([*lines, f"{line} {measured['queries']} questions. {note}".rstrip()]) + "\n"
    rows = [(MODEL_NAMES[m], results["models"][m], False) for m in MODEL_NAMES]
    rows += [(pair_name(pair), results["differences"][pair], True) for pair in PAIRS]
    lines += ["| | " + " | ".join(metrics) + " |", "|---|" + "---:|" * len(metrics)]
    for name, values, sign in rows:
        lines.append(f"| {name} | " + " | ".join(_cell(values.get(metric), sign) for metric in metrics) + " |")
    lines += [
        "",
        f"Points of 100; in brackets the 95 % interval over the choice of {measured['images']} evaluation images"
        f"{' and of seeds' if 'seeds' in results else ''}. {measured['queries']} questions. {note}".rstrip(),
    ]
    if "per_seed" in results:
        lines += ["", f"{results['verdict']['title']}, seed by seed:"]
        lines += ["", "| seed | Base | SFT | RFT | RFT − SFT |", "|---:|---:|---:|---:|---:|"]
        for seed in results["per_seed"]:
            cells = [_cell(seed["models"][model], False) for model in MODEL_NAMES]
            lines.append(f"| {seed['seed']} | {' | '.join(cells)} | {_cell(seed['differences']['rft-sft'], True)} |")
    return "\n".join(lines) + "\n"


def pair_name(pair: str) -> str:
    """`rft-sft` → RFT − SFT"""
    return " − ".join(MODEL_NAMES[name] for name in pair.split("-"))


def _cell(entry: Ends | None, sign: bool) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    return f"{points(entry['value'], sign)} [{points(entry['low'], sign)}, {points(entry['high'], sign)}]"
