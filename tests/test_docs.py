"""What the documentation shows is true: commands parse, files and targets exist, code runs, links lead somewhere."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from small_project import ROOT

from vrft_core.cli import vrft

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHERS = {  # programs of others, of whose arguments only our own files are looked at
    "$EDITOR", "docker", "export", "git", "helm", "kubectl", "pip", "rm", "sinfo", "squeue", "tar", "cat", "cd", ".",
    "sh", "pre-commit", "python3.12",
}  # fmt: skip
# with an ending: deploy/vrft is a Deployment of Kubernetes
OURS = re.compile(r"(?:deploy|bench|docs|tests|pipelines|vrft_core)/[\w./-]+\.\w+")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [found[2] for found in re.finditer(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)]


def shown() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every simple command in a block of shell."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for words in simple_commands(line):
                    yield name(page), words


def simple_commands(line: str) -> Iterator[list[str]]:
    """Commands of a line, without redirections, comments and the variables set before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if token and set(token) <= set(";|&"):
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(token)


def spans() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every `vrft …` and `make …` in running text that is given in full."""
    for page in PAGES:
        text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`((?:vrft|make) [^`]+)`", text):
            if not re.search(r"…|\.\.\.|[A-Z]{4,}|\b[A-Z]\b|\{", code):
                yield name(page), shlex.split(code)


def parse(words: list[str]) -> None:
    """Raises click's UsageError where the command line would be refused; runs nothing."""
    frame = vrft.make_context("vrft", list(words))
    name, command, rest = vrft.resolve_command(frame, [*frame._protected_args, *frame.args])
    assert command
    command.make_context(name, rest, parent=frame)


COMMANDS = list(shown())
SPANS = list(spans())


def each(commands: list[tuple[str, list[str]]], program: str) -> list:
    return [pytest.param(words, id=f"{page}: {' '.join(words)}") for page, words in commands if words[0] == program]


def test_blocks_of_shell_are_shell():
    for page in PAGES:
        for block in blocks(page, "sh"):
            block = block.replace("<this repository>", "repository")
            done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
            assert done.returncode == 0, f"{name(page)}: {done.stderr}"


def test_only_known_programs_are_shown():
    checked = {"vrft", "make", "dvc", "python"}
    assert {words[0] for _, words in COMMANDS} - checked - OTHERS == set()


@pytest.mark.parametrize("words", each(COMMANDS, "vrft"))
def test_a_command_of_ours_in_a_block_parses(words):
    try:
        parse(words[1:])
    except click.exceptions.Exit as end:  # --help, --version
        assert end.exit_code == 0


@pytest.mark.parametrize("words", each(SPANS, "vrft"))
def test_a_command_of_ours_in_a_sentence_exists_with_its_options(words):
    command = vrft if words[1].startswith("-") else vrft.commands[words[1]]
    given = {word for word in words[1:] if word.startswith("-")}
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    assert given <= known | {"--help", "-h"}


@pytest.mark.parametrize("words", each(COMMANDS + SPANS, "make"))
def test_a_target_of_make_exists(words):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    wanted = [word for word in words[1:] if "=" not in word]
    assert wanted and set(wanted) <= targets


@pytest.mark.parametrize("words", each(COMMANDS, "dvc"))
def test_a_command_of_dvc_parses(words):
    from dvc.cli.parser import get_main_parser

    get_main_parser().parse_args(words[1:])


@pytest.mark.parametrize("words", each(COMMANDS, "python"))
def test_a_python_program_exists(words):
    if words[1] == "-m":
        assert find_spec(words[2])
    else:
        assert (ROOT / words[1]).is_file()


def test_files_of_ours_in_commands_exist():
    missing = {
        (page, path) for page, words in COMMANDS for word in words for path in OURS.findall(word)
        if not (ROOT / path).exists()
    }  # fmt: skip
    assert missing == set()


def test_links_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{name(page)}: {target}"


def test_every_page_is_in_the_navigation_once():
    def leaves(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        else:
            assert isinstance(node, list | dict)
            for inner in node.values() if isinstance(node, dict) else node:
                yield from leaves(inner)

    listed = sorted(leaves(yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.BaseLoader)["nav"]))
    assert listed == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:])


def test_the_reference_of_the_command_line_is_current():
    spec = spec_from_file_location("docs_commands", ROOT / "deploy/docs_commands.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.text(), "run python deploy/docs_commands.py"


def test_variables_of_the_environment_exist_in_the_code():
    places = [path for folder in ("vrft_core", "pipelines", "deploy") for path in (ROOT / folder).rglob("*.py")]
    places += [*(ROOT / "deploy").rglob("*.yaml"), ROOT / "tests/test_services.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in places)
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {one for one in re.findall(r"VRFT_[A-Z_]*[A-Z]\b(?!_)", text) if not re.search(rf"\b{one}\b", code)} == set()


def test_yaml_and_python_in_the_documentation_can_be_read():
    for page in PAGES:
        for block in blocks(page, "yaml"):
            yaml.safe_load(block)
        for block in blocks(page, "python"):
            if not block.startswith("    "):  # a line for the middle of a file
                ast.parse(block)


def test_reference_pages_name_modules_that_exist():
    for page in (ROOT / "docs/reference").glob("*.md"):
        for module in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert find_spec(module), f"{name(page)}: {module}"


@cache
def reward_page() -> tuple[str, str, str]:
    """The function, its line in the registry, and the program that fills in the golden values."""
    function, line, program = blocks(ROOT / "docs/add-a-reward.md", "python")
    return function, line, program


@pytest.mark.slow
def test_a_reward_is_added_as_its_page_says(tmp_path):
    """On a copy of the package: paid as stated, with the properties of all rewards, and found by `vrft score`."""
    shutil.copytree(ROOT / "vrft_core", tmp_path / "vrft_core", ignore=shutil.ignore_patterns("__pycache__"))
    rewards = tmp_path / "vrft_core/tasks/detection/rewards"
    function, line, program = reward_page()
    with (rewards / "boxes.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{function}")
    registry = (rewards / "__init__.py").read_text(encoding="utf-8")
    changed = registry.replace("STRICT: dict[str, Reward] = {\n", f"STRICT: dict[str, Reward] = {{\n{line}", 1)
    (rewards / "__init__.py").write_text(changed, encoding="utf-8")

    def python(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search(r"^1\.00  wrong box, sure$", python(program), re.MULTILINE)
    found = python(
        "from vrft_core.tasks import get_task; from vrft_core.evaluation.adversarial import rescore\n"
        "print(rescore(get_task('detection')))"
    )
    assert "'mismatches': []" in found and "'strict_overpaid': 0" in found

    for name in ("drawn_answers.py", "rewarded.py", "test_reward_properties.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    rewarded = (tmp_path / "rewarded.py").read_text(encoding="utf-8")
    (tmp_path / "rewarded.py").write_text(
        rewarded.replace("STRICT_DETECTION = [", 'STRICT_DETECTION = ["number", '), encoding="utf-8"
    )
    properties = [str(tmp_path / "test_reward_properties.py"), "-q", "-k", "twice or between_0_and_1"]
    python(f"import sys, pytest; sys.exit(pytest.main({properties}))")


def run(*words: str) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_of_make_names_the_targets_of_the_readme():
    said = run("make", "help")
    for words in (words for page, words in COMMANDS + SPANS if page == "README.md" and words[0] == "make"):
        assert f"make {words[1]}" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [words for _, words in COMMANDS if words[:2] == ["vrft", "plan"] and not words[2].startswith("my-")]
)
def test_plans_that_are_shown_are_made(words):
    assert "FLOP" in run(sys.executable, "-m", "vrft_core.cli", *words[1:])


@pytest.mark.slow
def test_the_readmes_graph_is_dvcs():
    """The same stages, and the same order: an edge that DVC has and the graph lacks is a path in it."""
    import networkx

    from pipelines.dvc_project import DvcProject

    [graph] = blocks(ROOT / "README.md", "mermaid")
    shown = networkx.DiGraph()
    for line in graph.splitlines()[1:]:
        steps = [step.split(" & ") for step in line.strip().split(" --> ")]
        for sources, targets in pairwise(steps):
            shown.add_edges_from((source, target) for source in sources for target in targets)
    real = networkx.DiGraph()
    for stage in DvcProject(root=str(ROOT)).stages().values():
        real.add_edges_from((need.partition("@")[0], stage.name) for need in stage.needs)
    assert set(shown.nodes) == set(real.nodes)
    assert set(networkx.transitive_reduction(real).edges) == set(shown.edges)


def test_the_readmes_first_screen_says_what_it_is_and_what_to_type():
    first = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:45]
    assert any(line.startswith("make demo") for line in first) and any("RFT − SFT" in line for line in first)


def test_the_readmes_image_is_small():
    for image in (ROOT / "docs/images").iterdir():
        assert image.stat().st_size <= 200_000
