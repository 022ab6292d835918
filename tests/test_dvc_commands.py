"""DVC as its users know it: status, metrics, plots, experiments, remotes of one small project; and life without DVC."""

import csv
import json
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from finished_project import STUDY
from small_project import CELL, ROOT, edit_params, run, small_project

from vrft_core import io
from vrft_core.cell import HEADLINE, Cell, Layout

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
WHOSE = Cell("mini", "lvis", 1, 0)
BETA = "recipes.mini.rft.beta"
MAY_CHANGE = {f"{name}@{CELL}" for name in ("rft", "rft_eval", "report")} | {f"study@{STUDY}"}
# One process for several commands: each start of DVC costs more than most commands
IN_ORDER = (
    "import json, sys\nfrom dvc.cli import main\n"
    "for command in json.loads(sys.argv[1]):\n"
    "    status = main(command)\n    print(f'\\n=== {status}', flush=True)\n"
)


def dvc(root: Path, *commands: str, **variables: str) -> list[tuple[int, str]]:
    """Run DVC's commands one after another; the exit status of each, and what it printed."""
    said = run(
        sys.executable, "-c", IN_ORDER, json.dumps([one.split() for one in commands]), cwd=root,
        PYTHONPATH=str(root), DVC_NO_ANALYTICS="1", **variables,
    )  # fmt: skip
    parts = re.split(r"\n=== (\d+)\n", said)
    assert len(parts) == 2 * len(commands) + 1, said
    return [(int(status), text) for text, status in zip(parts[::2], parts[1::2], strict=False)]


def content(folder: Path) -> dict[str, bytes]:
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert found
    return found


def values(root: Path, method: str) -> dict:
    """What DVC shows of an evaluation."""
    return io.read_json(Layout(root).evaluation(WHOSE, method) / HEADLINE)


@pytest.fixture(scope="module")
def root(by_dvc, tmp_path_factory) -> Path:
    """A committed copy of the finished project."""
    copy = tmp_path_factory.mktemp("commands") / "project"
    shutil.copytree(by_dvc, copy, symlinks=True)
    for name, value in {"user.name": "t", "user.email": "t@example.org"}.items():
        run("git", "config", name, value, cwd=copy)
    run("git", "add", ".", cwd=copy)
    run("git", "commit", "-q", "-m", "first results", cwd=copy)
    return copy


def test_what_is_made_is_up_to_date_and_shown_in_few_columns(root):
    status, dry, shown, dag = dvc(root, "status", "repro --dry", "metrics show --md", f"dag report@{CELL}")

    assert status == (0, "Data and pipelines are up to date.\n")
    assert "Running" not in dry[1]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown[1].splitlines() if line]
    assert head == ["Path", "metric", "points", "points from", "points to"]
    assert [row[0].removeprefix("reports/") for row in rows] == [
        "lvis-mini/base/points.json", f"{STUDY}/s0/sft/points.json", f"{STUDY}/s0/rft/points.json",
        f"{STUDY}/s0/rft-sft.json", f"studies/{STUDY}-rft-sft.json",
    ]  # fmt: skip
    for method, row in zip(("base", "sft", "rft"), rows, strict=False):
        whole = io.read_json(Layout(root).evaluation(WHOSE, method) / "metrics.json")
        deciding = whole["metrics"]["lvis/oracle/AP"]
        wanted = [round(100 * deciding[end], 2) for end in ("value", "low", "high")]
        assert [float(cell) for cell in row[2:]] == wanted and row[1] == "LVIS AP (oracle presence)"
    assert "rft_eval@" in dag[1] and "policy@mini" in dag[1]


def test_plots_are_declared_and_drawn(root, tmp_path):
    [(status, said)] = dvc(root, f"plots show -o {tmp_path / 'page'}")

    assert status == 0 and "failed" not in said
    page = (tmp_path / "page/index.html").read_text()
    specs = [json.loads(text) for text in re.findall(r"var spec = (\{.*\});", page)]
    place = f"reports/{STUDY}/s0/plots"
    drawn = {spec["title"]["text"].removeprefix(f"{place}/"): spec for spec in specs}
    assert {"lines/validation.csv", "lines/reward.csv", "lines/loss.csv", "bars/categories.csv"} <= set(drawn)
    for name, spec in drawn.items():
        rows = list(csv.DictReader((root / place / name).open(encoding="utf-8")))
        assert "<DVC_METRIC" not in json.dumps(spec)
        assert [{key: row[key] for key in rows[0]} for row in spec["data"]["values"]] == rows
    rewards = drawn["lines/reward.csv"]["data"]["values"]
    assert {"total", "iou", "format"} <= {row["series"] for row in rewards}
    assert {row["series"] for row in drawn["bars/categories.csv"]["data"]["values"]} == {"Base", "SFT", "RFT"}


def test_an_experiment_runs_what_its_parameter_makes_stale_and_is_compared(root, tmp_path):
    before = values(root, "rft")
    ran, metrics, params, plots, shown = dvc(
        root, f"exp run -n more-beta -S {BETA}=0.1", "metrics diff --all --json", "params diff --json",
        f"plots diff HEAD -o {tmp_path / 'page'}", "exp show --json",
    )  # fmt: skip

    assert ran[0] == 0, ran[1]
    again = set(re.findall(r"Running stage '(.+)'", ran[1]))
    assert {f"rft@{CELL}", f"report@{CELL}"} <= again <= MAY_CHANGE, ran[1]
    assert json.loads(params[1].splitlines()[-1])["params.yaml"][BETA]["new"] == 0.1
    changes = json.loads(metrics[1].splitlines()[-1])
    own = changes[f"reports/{STUDY}/s0/rft/{HEADLINE}"]["points"]
    assert (own["old"], own["new"]) == (before["points"], values(root, "rft")["points"])
    page = (tmp_path / "page/index.html").read_text()
    assert plots[0] == 0 and '"rev": "HEAD"' in page and '"rev": "workspace"' in page
    assert '"more-beta"' in shown[1] and "0.1" in shown[1]
    assert yaml.safe_load((root / "params.yaml").read_text())["recipes"]["mini"]["rft"]["beta"] == 0.1


def test_a_grid_of_which_nothing_was_made_is_listed(tmp_path):
    root = small_project(tmp_path / "project")
    status, dry, forced = dvc(root, "status --json", "repro --dry", "repro --dry --force")

    assert len(json.loads(status[1].splitlines()[-1])) == 25
    assert dry[0] != 0 and "No such file or directory" in dry[1], "DVC does it now: say so in docs/dvc.md"
    assert forced[0] == 0 and forced[1].count("Running stage") == 25


@pytest.fixture(scope="module")
def remotes(tmp_path_factory):
    """S3 by moto and SSH by asyncssh, both on loopback: their addresses and how to get in."""
    for module, package in {"moto": "moto", "dvc_s3": "dvc-s3", "dvc_ssh": "dvc-ssh"}.items():
        if not find_spec(module):
            pytest.skip(f"{package} is not installed")
    folder = tmp_path_factory.mktemp("remotes")
    command = [sys.executable, str(ROOT / "tests/remote_stores.py"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as servers:
        try:
            assert servers.stdout
            yield folder, json.loads(servers.stdout.readline())
        finally:
            servers.kill()


def test_results_travel_by_s3_and_by_ssh(by_dvc, remotes, tmp_path):
    folder, ports = remotes
    root, clone = tmp_path / "project", tmp_path / "clone"
    shutil.copytree(by_dvc, root, symlinks=True)
    secrets = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    made = [f"report@{CELL}", f"prompts@{CELL}"]
    done = dvc(
        root,
        "remote add s3 s3://store/vrft",
        f"remote modify s3 endpointurl http://127.0.0.1:{ports['s3']}",
        f"remote add ssh ssh://somebody@127.0.0.1:{ports['ssh']}{folder / 'store'}",
        f"remote modify ssh keyfile {folder / 'key'}",
        *(f"push -r {name} {' '.join(made)}" for name in ("s3", "ssh")),
        **secrets,
    )
    assert all(status == 0 for status, _ in done), done
    run("git", "add", ".", cwd=root)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "done", cwd=root)
    for name in ("s3", "ssh"):
        run("git", "clone", "-q", str(root), str(clone / name), cwd=tmp_path)
        (status, said), *_ = dvc(clone / name, f"pull -r {name} {' '.join(made)}", **secrets)
        assert status == 0, said
        for place in (f"reports/{STUDY}/s0/report", f"data/prompts/{CELL}"):
            assert content(clone / name / place) == content(root / place)


def test_a_grid_with_rows_that_were_never_made_is_pulled_with_allow_missing(by_dvc, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(by_dvc, root, symlinks=True)

    def one_more(params: dict) -> None:
        params["grid"]["cells"]["lvis-mini-1shot-s1"] = params["grid"]["cells"][CELL] | {"seed": 1}

    edit_params(root, one_more)
    shutil.rmtree(root / f"reports/{STUDY}/s0/report")
    [plain, lenient] = dvc(root, "checkout", "checkout --allow-missing")
    assert plain[0] != 0 and "s1" in plain[1] and f"{STUDY}/s0/report\n" not in plain[1].partition("ERROR")[2]
    assert lenient[0] == 0 and (root / f"reports/{STUDY}/s0/report/report.html").is_file()


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A Python whose environment has all packages but DVC and Dagster."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    packages = folder / "packages"
    packages.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.startswith(("dvc", "dagster")) and entry.suffix != ".pth":
            (packages / entry.name).symlink_to(entry)
    [site] = (folder / "venv").glob("lib/python*/site-packages")
    (site / "all.pth").write_text(f"{packages}\n")
    python = folder / "venv/bin/python"
    for name in ("dvc", "dagster"):
        assert "ModuleNotFoundError" in run(str(python), "-c", f"import {name}", cwd=folder, status=1, PYTHONPATH="")
    return python


def test_vrft_run_needs_neither_dvc_nor_dagster(by_dvc, bare, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(by_dvc, root, symlinks=True)

    def vrft(*arguments: str) -> str:
        return run(str(bare), "-m", "vrft_core.cli", *arguments, cwd=root, PYTHONPATH=str(root))

    with (root / "vrft_core/report/summary.py").open("a") as file:
        file.write("\n# edited\n")
    shutil.rmtree(root / f"data/few_shot/{CELL}")
    before = (root / "dvc.lock").read_text()
    said = vrft("run", STUDY)
    done = re.findall(r"^(\S+): (cached|running|done)", said, re.MULTILINE)
    assert {name for name, how in done if how == "running"} == {f"few_shot@{CELL}", f"report@{CELL}", f"study@{STUDY}"}
    assert sum(how == "cached" for _, how in done) == 8 and "report.html" in said
    assert (root / f"data/few_shot/{CELL}").is_dir()
    assert "running" not in vrft("run", CELL)

    commit, status = dvc(root, "commit --force", "status")
    assert commit[0] == 0 and status == (0, "Data and pipelines are up to date.\n")
    assert set(yaml.safe_load(before)["stages"]) == set(yaml.safe_load((root / "dvc.lock").read_text())["stages"])
