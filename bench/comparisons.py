"""What the stage `comparison` found, all in one table: the one of docs/comparisons.md.

    python bench/comparisons.py --root .

Needs reports/comparisons/ under the root: `vrft run` of each study that `grid.comparisons` lists, or `dvc repro`. What
is missing there is missing here: nothing is filled in.
"""

import argparse
from pathlib import Path

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.report.comparison import ComparisonResults
from vrft_core.report.comparison_summary import entry
from vrft_core.tasks import load_params

HEAD = ("recipe − other", "task, metric", "seeds", "base", "after SFT", "after RFT", "gain by RFT", "FLOPs of SFT, RFT")


def row(found: ComparisonResults) -> str:
    metric, cost = found["metric"], found["cost"][found["recipe"]]
    cells = [
        f"`{found['recipe']}` − `{found['other']}`",
        f"{found['task']}, {found['title']}",
        ", ".join(map(str, found["seeds"])),
        *(entry(found["differences"][method][metric], True) for method in ("base", "sft", "rft")),
        entry(found["gains"]["rft-base"][metric], True),
        ", ".join(f"{100 * cost[method]['ratio']:.1f} %" for method in ("sft", "rft")),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path())
    layout = Layout(parser.parse_args().root)
    params = load_params(layout.root / "params.yaml")
    print(f"| {' | '.join(HEAD)} |\n|---|---|---|{'---:|' * (len(HEAD) - 3)}")
    missing = []
    for key in params.grid.comparisons:
        path = layout.comparison(params.parse_cell(key)) / "metrics.json"
        if path.is_file():
            print(row(io.read_json(path)))
        else:
            missing.append(key)
    print(f"\nDifferences in points of 100, with 95 % intervals. Not made yet: {', '.join(missing) or 'none'}.")


if __name__ == "__main__":
    main()
