"""`vrft new`: a project of its own, outside a checkout. What it can run afterwards is what a checkout can.

A project's dvc.yaml lists code file by file, so that an upgrade makes stale what it changes and nothing else. In a
project that code is the installed package: `vrft_core` there is a link to it,
kept out of git and renewed by `vrft run`.
"""

import os
import shutil
import subprocess
from pathlib import Path

import vrft_core
from vrft_core import io
from vrft_core.errors import InputError

CODE = Path(vrft_core.__file__).parent
LINK = "vrft_core"
PARAMS = Path(__file__).with_name("params.yaml")  # as published; `python -m vrft_core.commands.schema` copies it here
TEMPLATE = (
    "dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore",
    ".dvc/plots/vrft_lines.json", ".dvc/plots/vrft_bars.json", "data/README.md", "dagster_home/dagster.yaml",
)  # fmt: skip
README = """# {name}

A vrft project. `params.yaml` says which experiments exist, `dvc.yaml` which stages they have.

    vrft run lvis-mini-1shot-s0    # one experiment on drawn scenes: no GPU, no download
    vrft init FOLDER               # add your own images
    vrft --help

`{link}` is a link to the installed package; `vrft run` makes it where it is missing.
"""


def new(directory: Path) -> list[str]:
    """Write a project at `directory`, which must not exist or be an empty folder; returns lines that say what to do.

    The folder becomes a git repository of its own with nothing committed. Its params.yaml is the published one, also
    where the checkout's own was edited. Raises InputError, and writes nothing, where the place is taken or git is
    missing.
    """
    directory = Path(directory).absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(directory, "exists already", "name a new folder")
    if not shutil.which("git"):
        raise InputError("git", "is not installed", "install it: versions of data are recorded beside git's")
    with io.new_directory(directory) as made:
        for name in TEMPLATE:
            target = made / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_source() / name, target)
        shutil.copyfile(PARAMS, made / "params.yaml")
        with (made / ".gitignore").open("a", encoding="utf-8") as file:
            file.write(f"# The installed package; `vrft run` links it.\n/{LINK}\n")
        (made / "README.md").write_text(README.format(name=directory.name, link=LINK), encoding="utf-8")
        subprocess.run(["git", "init", "--quiet", str(made)], check=True)
        link_code(made)
    return [f"{directory}: a new project", f"next: cd {os.path.normpath(directory)} && vrft run lvis-mini-1shot-s0"]


def link_code(root: Path) -> None:
    """Make `vrft_core` of a project lead to the code that runs. A checkout has a folder there, which stays as it is."""
    link = root / LINK
    if not (root / "dvc.yaml").is_file() or (link.exists() and not link.is_symlink()):
        return
    if link.is_symlink():
        if link.resolve() == CODE.resolve():
            return
        link.unlink()
    link.symlink_to(CODE, target_is_directory=True)


def _source() -> Path:
    """Where the files of a project are: in the installed package, or in the checkout that is installed."""
    packed = CODE / "template"
    return packed if packed.is_dir() else CODE.parent
