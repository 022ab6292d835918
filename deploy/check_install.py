"""Import what `make setup` installed and compute once with torch: it says "ready" only after this worked.

An installation can be complete by its records and still not load: a missing shared library, a truncated file.
"""

import importlib
import sys

# The libraries whose compiled or optional parts fail at import, then every entry point of the project.
MODULES = (
    "torch",
    "transformers",
    "trl.trainer.sft_trainer",
    "trl.trainer.grpo_trainer",
    "peft",
    "datasets",
    "great_expectations",
    "mlflow",
    "dvc.repo",
    "dagster",
    "vrft_core.cli",
    "pipelines.definitions",
)


def main() -> int:
    name = ""
    try:
        for name in MODULES:
            importlib.import_module(name)
        torch = sys.modules["torch"]
        name = "torch"
        assert (torch.ones(2, 3) @ torch.ones(3, 2)).sum() == 12, "a matrix product is wrong"
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{name}: installed, but it fails ({problem}); remove .venv and make setup again", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
