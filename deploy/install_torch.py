"""Install one version of torch into this interpreter's environment, the CPU build where there is one.

PyPI's Linux wheels bring gigabytes of CUDA. A machine with GPUs installs those by hand and skips this.
"""

import importlib.metadata
import platform
import subprocess
import sys

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main(version: str) -> int:
    try:
        if importlib.metadata.version("torch").split("+")[0] == version:
            return 0
    except importlib.metadata.PackageNotFoundError:
        pass
    plain = [f"torch=={version}"]
    cpu = [f"torch=={version}+cpu"]
    tries = [plain] if platform.system() == "Darwin" else [cpu, [*cpu, "--index-url", CPU_INDEX], plain]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    for attempt in tries:
        result = subprocess.run([*pip, *attempt], stderr=subprocess.PIPE, text=True)
        if result.returncode == 0:
            return 0
    print(result.stderr, file=sys.stderr)
    return result.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
