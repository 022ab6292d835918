"""Who may import whom: the method knows nothing of the tools around it, and arrows point down."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "vrft_core").rglob("*.py"))
BRIDGE = sorted((ROOT / "dagster_dvc").rglob("*.py"))
ALL = CORE + BRIDGE + sorted((ROOT / "pipelines").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules a file imports, wherever in the file, under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tools(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_method_imports_no_orchestrator_no_data_versioning_and_no_data_checks():
    foreign = {"dagster", "dvc", "great_expectations", "kubernetes", "pipelines"}
    assert {named(path): found for path in CORE if (found := tools(path) & foreign)} == {}


def test_mlflow_is_imported_by_tracking_and_registry_alone_and_pipes_by_the_command_line_alone():
    users = {named(path): found for path in ALL if (found := tools(path) & {"mlflow", "dagster_pipes"})}
    tracking = {name: users.pop(name) for name in list(users) if name.startswith("vrft_core/tracking/")}
    assert tracking and all(found == {"mlflow"} for found in tracking.values())
    assert users == {
        "vrft_core/registry.py": {"mlflow"},
        "vrft_core/served_model.py": {"mlflow"},
        "vrft_core/cli/app.py": {"dagster_pipes"},
    }


def test_what_is_copied_into_registered_models_needs_nothing_of_this_project():
    assert not tools(ROOT / "vrft_core/served_model.py") & {"vrft_core", "pipelines"}


def test_dvc_is_touched_by_one_module_alone():
    assert [named(path) for path in ALL if tools(path) & {"dvc", "dvc_data"}] == ["dagster_dvc/project.py"]


def test_the_bridge_between_dagster_and_dvc_knows_nothing_of_this_project():
    known = {"dagster", "dagster_dvc", "dvc", "dvc_data", "filelock", *sys.stdlib_module_names}
    assert {named(path): found for path in BRIDGE if (found := tools(path) - known)} == {}


def test_rooms_do_not_import_the_stages_that_call_them():
    doors = ("cli", "stages", "commands")
    rooms = [path for path in CORE if path.relative_to(ROOT / "vrft_core").parts[0] not in doors]
    upward = {named(path): [n for n in imported(path) if n.startswith("vrft_core.stages")] for path in rooms}
    assert {path: names for path, names in upward.items() if names} == {}


@pytest.mark.slow
def test_loading_the_definitions_imports_nothing_heavy():
    heavy = ("torch", "transformers", "datasets", "great_expectations", "pandas", "mlflow")
    code = (
        "import sys, dagster as dg\n"
        "from pipelines.definitions import defs\n"
        "dg.Definitions.validate_loadable(defs())\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_dagsters_selections_and_dvcs_overrides_parse_in_one_process():
    """As pip resolves them the two want different antlr4 runtimes; pyproject.toml pins what serves both."""
    import dagster as dg
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert dg.AssetSelection.from_string('+key:"lvis_rft_eval" or group:data')
    (override,) = OverridesParser.create().parse_overrides(["recipes.mini.rft.steps=3"])
    assert override.value() == 3
