"""Resolve pyproject.toml into its locks: every platform, with hashes.

`requirements.lock` has no torch and no CUDA: torch is installed first and by itself (install_torch.py), so that a
machine without GPU takes the CPU build. `requirements-docs.lock` is what the documentation site is made with.
Needs uv on the PATH or as the first argument.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APART = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
HEAD = "# Made by `make lock` from pyproject.toml; torch is installed apart (deploy/install_torch.py).\n"
DOCS_HEAD = "# Made by `make lock` from the dependency group `docs` of pyproject.toml.\n"


def main(uv: str = "uv") -> None:
    write_docs(uv)
    resolved = compiled(uv, "pyproject.toml", "--all-extras")
    entries = re.split(r"^(?=\S)", resolved, flags=re.MULTILINE)
    kept = HEAD + "".join(entry for entry in entries if not APART.match(entry))
    (ROOT / "requirements.lock").write_text(kept, encoding="utf-8")


def write_docs(uv: str) -> None:
    (ROOT / "requirements-docs.lock").write_text(DOCS_HEAD + compiled(uv, "--group=docs"), encoding="utf-8")


def compiled(uv: str, *what: str) -> str:
    command = [uv, "pip", "compile", *what, "--universal", "--python-version=3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
