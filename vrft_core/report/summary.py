"""The Markdown summary: the headline and the tables, for a terminal, a commit or a README."""

from vrft_core.report.verdict import PAIRS, points
from vrft_core.tasks.detection.metrics.scores import metric_name, metric_title

METRICS = (
    ("lvis", "AP"), ("lvis", "AP50"), ("lvis", "AP75"), ("lvis", "APr"), ("lvis", "APc"), ("lvis", "APf"),
    ("coco", "AP"),
)  # fmt: skip
MODEL_NAMES = {"base": "Base", "sft": "SFT", "rft": "RFT"}


def summary(results: dict) -> str:
    """Markdown of a cell's or a study's results."""
    measured = results["measured"]
    metrics = [metric_name(protocol, measured["presence"], metric) for protocol, metric in METRICS]
    rows = [(MODEL_NAMES[m], results["models"][m], False) for m in MODEL_NAMES]
    rows += [(pair_name(pair), results["differences"][pair], True) for pair in PAIRS]
    lines = [
        f"# {results['cell']}",
        "",
        f"**{results['verdict']['headline']}**",
        " ".join(results["verdict"]["also"]),
        "",
        "| | " + " | ".join(metrics) + " |",
        "|---|" + "---:|" * len(metrics),
    ]
    for name, values, sign in rows:
        lines.append(f"| {name} | " + " | ".join(_cell(values.get(metric), sign) for metric in metrics) + " |")
    lines += [
        "",
        f"AP in points of 100; in brackets the 95 % interval ({measured['resamples']} resamples of the "
        f"{measured['images']} evaluation images{' and of the seeds' if 'seeds' in results else ''}). "
        f"{measured['queries']} questions, presence protocol `{measured['presence']}`, "
        f"boxes ranked by `{measured['ranking']}`.",
    ]
    if "per_seed" in results:
        lines += ["", f"{metric_title(results['verdict']['metric'])}, seed by seed:"]
        lines += ["", "| seed | Base | SFT | RFT | RFT − SFT |", "|---:|---:|---:|---:|---:|"]
        for seed in results["per_seed"]:
            cells = [_cell(seed["models"][model], False) for model in MODEL_NAMES]
            lines.append(f"| {seed['seed']} | {' | '.join(cells)} | {_cell(seed['differences']['rft-sft'], True)} |")
    return "\n".join(lines) + "\n"


def pair_name(pair: str) -> str:
    """`rft-sft` → RFT − SFT"""
    return " − ".join(MODEL_NAMES[name] for name in pair.split("-"))


def _cell(entry: dict | None, sign: bool) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    return f"{points(entry['value'], sign)} [{points(entry['low'], sign)}, {points(entry['high'], sign)}]"
