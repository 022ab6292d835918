"""params.yaml from someone else: names that a shell or a batch script would obey, YAML that grows without end."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from small_project import CELL, edit_params, lvis_alone, run, small_project

from pipelines.executors import Placement, slurm_sweep
from pipelines.executors.jobs import Job, Refused
from pipelines.executors.kubernetes_manifests import job_manifest
from pipelines.executors.slurm import Site, script
from vrft_core import yaml_text
from vrft_core.errors import InputError
from vrft_core.params import Params, Resources
from vrft_core.tasks import load_params, settings_models

ROOT = Path(__file__).parents[1]
HERE = Path("params.yaml")
EVIL = "x$(touch pwned)"
TEMPLATE = {"metadata": {"namespace": "vrft"}, "spec": {"template": {"spec": {"containers": [{"name": "stage"}]}}}}
BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
)])  # fmt: skip
MERGES = "\n".join(["a0: &a0 {k: 1}", *(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)
)])  # fmt: skip


def content() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def parse(params: dict) -> Params:
    return Params.parse(yaml.safe_dump(params), HERE, settings_models())


def renamed(params: dict, benchmark: str) -> None:
    """The benchmark `lvis` under another name, wherever it is named."""
    params["benchmarks"][benchmark] = params["benchmarks"].pop("lvis")
    grid = params["grid"]
    for scope in ("setups", "cells", "studies"):
        grid[scope] = {
            key.replace("lvis", benchmark): {**row, "benchmark": benchmark} for key, row in grid[scope].items()
        }
    params["nightly"] = {}


@pytest.mark.parametrize(
    "put",
    [
        lambda p: p["benchmarks"].update({EVIL: {"task": "detection"}}),
        lambda p: p["recipes"].update({EVIL: p["recipes"]["mini"]}),
        lambda p: p["grid"]["recipes"].append(EVIL),
        lambda p: p["grid"]["setups"].update({EVIL: {"benchmark": "lvis", "recipe": "mini"}}),
        lambda p: p["grid"]["cells"][CELL].update(benchmark=EVIL),
        lambda p: p["grid"]["studies"].update({EVIL: p["grid"]["studies"]["lvis-mini-1shot"]}),
        lambda p: p["resources"].update({EVIL: {}}),
        lambda p: p["nightly"]["cells"].append(EVIL),
    ],
)
def test_a_name_that_a_shell_would_obey_is_refused_wherever_it_stands(put):
    params = content()
    put(params)
    with pytest.raises(InputError, match=r"'x\$\(touch pwned\)' must be lowercase letters, digits and single hyphens"):
        parse(params)


@pytest.mark.parametrize("name", ["Lvis", "a_b", "a.b", "a/b", "../a", "-a", "a-", "a--b", "a b", "a\n", "", "a" * 65])
def test_names_hold_nothing_but_lowercase_letters_digits_and_single_hyphens(name):
    params = content()
    renamed(params, name)
    with pytest.raises(InputError, match="must be lowercase letters"):
        parse(params)


@pytest.mark.slow
def test_a_hostile_name_never_reaches_the_shell(tmp_path):
    root = small_project(tmp_path / "project")
    edit_params(root, lambda params: renamed(params, EVIL))
    said = run("vrft", "run", CELL.replace("lvis", EVIL), cwd=root, status=2)
    assert said.startswith("vrft: params.yaml: ") and said.count("\n") == 1
    assert not (root / "pwned").exists()


@pytest.mark.parametrize("field", ["partition", "account", "qos", "gpu_type", "namespace", "queue", "priority"])
@pytest.mark.parametrize("value", ["gpu\ntouch pwned #", "gpu\r", "$(id)", "a b", "-n", "gpu\n"])
def test_what_a_stage_asks_for_holds_no_line_of_its_own(field, value):
    params = content()
    params["resources"]["mini"]["rft"] = {field: value}
    with pytest.raises(InputError, match=f"resources.mini.rft.{field}") as caught:
        parse(params)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValidationError):
        Resources(**{field: value})
    with pytest.raises(Exception, match=f"resources.{field}"):
        Placement(resources={field: value}).of(Resources())


def test_what_clusters_really_call_things_is_taken():
    for value in ({"gpu_type": "NVIDIA-A100-SXM4-80GB-MIG-1g.5gb"}, {"partition": "gpu,gpu_long"}, {"qos": "a+b@c"}):
        Resources(**value)


def made(**changes) -> Job:
    fields = {
        "name": "vrft-rft", "root": Path("/shared"), "folder": Path("/shared/j"), "command": ["vrft"],
        "environment": {}, "resources": Resources(), "labels": {},
    }  # fmt: skip
    return Job(**{**fields, **changes})


@pytest.mark.parametrize(
    "job",
    [
        made(resources=Resources.model_construct(partition="gpu\ntouch pwned #")),
        made(labels={"partition": "a\n#SBATCH --account=root"}),
        made(folder=Path("/shared/j\ntouch pwned #")),
        made(root=Path("/sha\rred")),
        made(environment={"HF_HOME": "/a\nb"}),
        made(command=["vrft", "stage\x00"]),
    ],
)
def test_no_script_and_no_manifest_is_written_with_a_control_character(job):
    for write in (lambda: script(job, Site()), lambda: job_manifest(TEMPLATE, job, (1, 30))):
        with pytest.raises(Refused, match="control character"):
            write()


def test_a_setup_files_name_begins_no_line_of_the_script(tmp_path):
    path = tmp_path / "setup\ntouch pwned"
    path.write_text("")
    with pytest.raises(Refused, match="control character"):
        script(made(), Site(setup=path))


def test_nor_does_an_array_of_jobs(tmp_path):
    need = Resources.model_construct(account="a\ntouch pwned #")
    with pytest.raises(Refused, match="control character"):
        slurm_sweep.script(tmp_path, tmp_path / "j", {CELL: ["rft"]}, need, Site())


def test_options_of_accelerate_are_words_and_not_shell(tmp_path):
    training = ["vrft", "stage", "rft", "--cell", CELL]
    text = script(
        made(command=training, resources=Resources(gpus=2), accelerate="$(touch pwned)", root=tmp_path), Site()
    )
    (line,) = (line for line in text.splitlines() if "VRFT_ACCELERATE" in line)
    inner = line[line.index("export VRFT_ACCELERATE") :].replace("'\"'\"'", "'")
    subprocess.run(["bash", "-c", inner], cwd=tmp_path, check=True)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("bomb", [BOMB, MERGES], ids=["lists", "merge keys"])
def test_aliases_that_stand_for_billions_are_refused_at_once(tmp_path, bomb):
    (tmp_path / "params.yaml").write_text(bomb)
    code = "import sys; from vrft_core.cli import main; sys.exit(main(['run', 'x']))"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=50)
    assert done.returncode == 2 and time.monotonic() - began < 20
    assert done.stderr == (
        "vrft: params.yaml: means more than 200,000 values, aliases written out; use fewer or smaller aliases\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]", "an anchor that holds itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: 2024-13-01", "month must be in"),
        ("a: [", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: !!python/object/apply:os.system [id]", "not valid YAML"),
        ("a: " + "1" * 5000, "not valid YAML"),
    ],
)
def test_yaml_that_is_none_is_one_line(text, said):
    with pytest.raises(InputError, match=said) as caught:
        yaml_text.parse(text, HERE)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"#" * (yaml_text.MAX_BYTES + 1))
    with pytest.raises(InputError, match="is larger than 1,000,000 bytes"):
        load_params(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="not UTF-8 at byte 3"):
        load_params(path)


def test_the_projects_own_anchors_and_merge_keys_mean_what_they_meant():
    text = (ROOT / "params.yaml").read_text()
    assert "<<: *paper" in text
    assert yaml_text.parse(text, HERE) == yaml.safe_load(text)
    assert yaml_text.parse("", HERE) is None


@pytest.mark.slow
def test_a_grid_of_thousands_of_cells_is_taken():
    params = content()
    lvis_alone(params)
    params["grid"]["cells"] = {
        f"lvis-mini-1shot-s{seed}": {**params["grid"]["setups"]["lvis-mini"], "shots": 1, "seed": seed}
        for seed in range(5000)
    }
    params["grid"]["studies"]["lvis-mini-1shot"]["seeds"] = list(range(5000))
    assert len(parse(params).cells()) == 5000


def test_an_error_shows_control_characters_instead_of_sending_them_to_the_terminal():
    assert str(InputError("a\x1b]0;title\x07.json", "no such file")) == r"a\x1b]0;title\x07.json: no such file"


def test_files_are_as_private_as_the_user_wants_them(tmp_path):
    """On a node that others use: `umask 077` holds for what is written by way of temporary names, too."""
    code = (
        "from pathlib import Path; from vrft_core import io\n"
        "io.write_text(Path('a.txt'), 'x')\n"
        "with io.new_directory(Path('b')) as folder: io.write_text(folder / 'c', 'x')\n"
    )
    for umask, modes in (("077", [0o600, 0o700, 0o600]), ("022", [0o644, 0o755, 0o644])):
        subprocess.run(["sh", "-c", f'umask {umask}; "$0" -c "$1"', sys.executable, code], cwd=tmp_path, check=True)
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.txt", "b", "b/c")] == modes
