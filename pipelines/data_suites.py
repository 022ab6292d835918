"""`python -m pipelines.data_suites CELL…`: the data contracts of cells again, without a Dagster run.

Prints one JSON object, cell → {"suites", "broken": [text], "warnings": [text], "inputs": {folder: DVC's digest}}, and
keeps each cell's under reports/nightly/data/. Exit status 1 where a critical expectation is broken.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.checks.contracts import CONTRACTS
from pipelines.checks.validation import validate
from pipelines.definitions import project_root
from vrft_core import io, provenance
from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.nights import data_record
from vrft_core.params import Params
from vrft_core.tasks import load_params


def check(root: Path, params: Params, keys: Sequence[str]) -> dict[str, dict]:
    """Validate raw data, few-shot sample and prompts of each cell; see above for the result."""
    layout, found = Layout(root), {}
    for key in keys:
        cell = params.parse_cell(key).at("cell")
        one: dict = {"suites": 0, "broken": [], "warnings": []}
        for stage, contract in CONTRACTS.items():
            for name, verdict in validate(*contract(layout, params, cell)).items():
                one["suites"] += 1
                said = [f"{key} {stage} {name}: {line}" for line in verdict.broken]
                one["broken" if verdict.critical else "warnings"] += said
        folders = (layout.raw(cell), layout.few_shot(cell), layout.prompts(cell))
        one["inputs"] = {path.relative_to(root).as_posix(): provenance.digest(path) for path in folders}
        io.write_json(data_record(layout, cell), one)
        found[key] = one
    return found


def main(keys: Sequence[str]) -> int:
    root = project_root()
    try:
        found = check(root, load_params(root / "params.yaml"), keys)
    except InputError as error:
        print(f"vrft: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return int(any(one["broken"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
