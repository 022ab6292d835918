"""Install torch into this interpreter's environment: the CUDA build where a GPU is seen, else the CPU build.

PyPI's Linux wheels are CUDA builds of several gigabytes. Without a GPU they are taken only where no index offers a CPU
build for this Python. TORCH_BUILD=cpu or TORCH_BUILD=cuda in the environment overrides the choice. Run this after
requirements.lock is installed: what torch needs besides CUDA's libraries is pinned there.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
ANEW = "remove .venv and make setup again"
# Prints "2.13.0 cpu" if torch works. The product is there because an import alone does not load every library.
ASK = """
import torch
assert (torch.ones(2, 3) @ torch.ones(3, 2)).sum() == 12
print(torch.__version__.partition("+")[0], "cuda" if torch.version.cuda or torch.version.hip else "cpu")
"""


def main(version: str = "") -> int:
    """Without a version: only check TORCH_BUILD. Returns the exit status."""
    build = os.environ.get("TORCH_BUILD", "")
    if build not in ("", "cpu", "cuda"):
        return _refuse(f"TORCH_BUILD: {build!r} is not a build of torch; set it to cpu or cuda, or leave it unset")
    if not version:
        return 0
    build = build or ("cuda" if _gpu() else "")
    if _works(version, build):
        return 0
    attempts = _attempts(version, build)
    errors = []
    for label, arguments in attempts:
        print(f"installing torch {version} ({label})", flush=True)
        error = _pip("install", *arguments)
        if not error and not _works(version, build):  # its files were there before, and are damaged
            error = _pip("install", "--force-reinstall", "--no-deps", *arguments)
        if not error:
            break
        errors.append(error)
    if _works(version, build):
        return 0
    if len(errors) < len(attempts):
        return _refuse(f"torch {version}: installed, but it does not work ({_last_line(_ask().stderr)}); {ANEW}")
    remedy = "use TORCH_BUILD=cuda or another Python" if build == "cpu" else "can pip reach a package index?"
    return _refuse(f"torch {version}: no {build} build found ({errors[-1]}); {remedy}".replace("  ", " "))


def _gpu() -> bool:
    """Whether there is an NVIDIA GPU; nvidia-smi alone may be installed without one."""
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    tool = shutil.which("nvidia-smi")
    return bool(tool) and "GPU 0" in subprocess.run([tool, "-L"], capture_output=True, text=True).stdout


def _attempts(version: str, build: str) -> list[tuple[str, list[str]]]:
    """What to try, in order: a label and pip's arguments."""
    plain = [f"torch=={version}", f"torch!={version}+cpu"]  # ==2.13.0 alone would accept a 2.13.0+cpu on this disk
    if platform.system() != "Linux":
        return [("PyPI's build", plain)]
    cpu = [f"torch=={version}+cpu", "--no-deps"]
    cpu_attempts = [("CPU build", cpu), (f"CPU build from {CPU_INDEX}", [*cpu, "--index-url", CPU_INDEX])]
    cuda_attempt = ("CUDA build with its libraries, about 3 GB", plain)
    return {"cpu": cpu_attempts, "cuda": [cuda_attempt], "": [*cpu_attempts, cuda_attempt]}[build]


def _works(version: str, build: str) -> bool:
    found = _ask().stdout.split()
    return found[:1] == [version] and build in ("", found[-1])


def _ask() -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True)


def _pip(*arguments: str) -> str:
    """The first thing that pip complained of, or nothing when it succeeded. Its progress is shown on a terminal."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    done = subprocess.run([*pip, *quiet, *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    return errors[0] if errors else f"pip ended with {done.returncode}: {_last_line(done.stderr)}"


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "it is another version or build"


def _refuse(line: str) -> int:
    print(line, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
