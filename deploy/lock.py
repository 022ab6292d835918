"""Resolve pyproject.toml into requirements.lock: every platform, with hashes, without torch and its CUDA parts.

torch is installed first and by itself (install_torch.py), so that a machine without GPU takes the CPU build.
Needs uv on the PATH or as the first argument.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APART = re.compile(r"(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
HEAD = "# Made by `make lock` from pyproject.toml; torch is installed apart (deploy/install_torch.py).\n"


def main(uv: str = "uv") -> None:
    command = [uv, "pip", "compile", "pyproject.toml", "--all-extras", "--universal", "--python-version=3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    resolved = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    entries = re.split(r"^(?=\S)", resolved, flags=re.MULTILINE)
    kept = HEAD + "".join(entry for entry in entries if not APART.match(entry))
    (ROOT / "requirements.lock").write_text(kept, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
