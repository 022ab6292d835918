"""What one GPU shows in eight minutes: GRPO steps, prediction, plans held against measurements, and one whole cell.

    python bench/gpu.py --out gpu-results            # on a machine with this project's packages
    python vrft-gpu.zip --out gpu-results            # on a bare one: see bench/gpu_pack.py
    python bench/gpu.py --toy --out gpu-results      # on a CPU, at toy size: that everything runs, nothing more

Writes `gpu.json` and `gpu.md` into the folder, again after each part. Each part runs in a process of its own, with a
time limit; what fails or takes too long is recorded, and the rest goes on. Exit status 1 where a part did.
docs/gpu.md says what is measured and how to read it.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
sys.path += filter(None, [os.environ.get("VRFT_SPARE")])  # packages of last resort: bench/gpu_pack.py
FORKS = multiprocessing.get_context("forkserver")

# part → (what it is about, seconds it may take), in order of importance
PARTS = {
    "environment": ("", 60),  # imports everything, for the others too
    "grpo Qwen2-VL-2B": ("Qwen2-VL-2B", 120),
    "prediction Qwen2-VL-2B": ("Qwen2-VL-2B", 70),
    "mini": ("", 150),
    "grpo Qwen3-VL-2B": ("Qwen3-VL-2B", 120),
    "grpo Qwen2.5-VL-3B": ("Qwen2.5-VL-3B", 120),
    "parity Qwen2-VL-2B": ("Qwen2-VL-2B", 40),
    "parity Qwen3-VL-2B": ("Qwen3-VL-2B", 40),
    "parity Qwen2.5-VL-3B": ("Qwen2.5-VL-3B", 40),
}
SLOW = 10  # times as long for a CPU that others use too
LEAST = 15  # seconds: with less left, a part is not begun
QUIET = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
         "OMP_WAIT_POLICY": "PASSIVE", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
         "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="the folder that is written")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--toy", action="store_true", help="tiny models and few tokens")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # measured in this very process
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part:
        measure(options.part, options.toy, options.out)
        return 0
    return conduct(options)


def conduct(options: argparse.Namespace) -> int:
    """Run the parts one after the other; 0 where all of them did."""
    from gpu_kit.table import markdown

    os.environ |= {**QUIET, **os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    FORKS.set_forkserver_preload(["gpu_kit.parts"])
    end, parts = time.monotonic() + 60 * options.minutes * (SLOW if options.toy else 1), {}
    for name in options.only:
        left = min(PARTS[name][1] * (SLOW if options.toy else 1), end - time.monotonic())
        parts[name] = outcome(name, options, left) if left >= LEAST else {"state": "no time left", "rows": []}
        print(f"{name}: {parts[name]['state']}", file=sys.stderr, flush=True)
        found = {"toy": options.toy, "minutes": options.minutes, "parts": parts}
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (options.out / "gpu.md").write_text(markdown(found), encoding="utf-8")
    print((options.out / "gpu.md").read_text(encoding="utf-8"))
    return int(any(part["state"] != "done" or any("failed" in row for row in part["rows"]) for part in parts.values()))


def outcome(name: str, options: argparse.Namespace, seconds: float) -> dict:
    """{"state", "wall_s", "rows", "stderr" (its end, where the part did not end well)} of one part's process."""
    rows, errors = rows_of(name, options.out), options.out / ".errors"
    rows.unlink(missing_ok=True)
    process = FORKS.Process(target=alone, args=(name, options.toy, options.out, errors))
    began = time.monotonic()
    process.start()
    process.join(seconds)
    late = process.exitcode is None
    if late:
        process.kill()
        process.join()
    ended = "done" if process.exitcode == 0 else f"ended with {process.exitcode}"
    state = f"stopped after {seconds:.0f} s" if late else ended
    part = {"state": state, "wall_s": round(time.monotonic() - began, 1), "rows": []}
    if rows.is_file():
        lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
        part["rows"] = [json.loads(line) for line in lines if line.endswith("\n")]
        rows.unlink()
    said = errors.read_text(encoding="utf-8", errors="replace")[-2000:] if errors.is_file() else ""
    errors.unlink(missing_ok=True)
    return part if state == "done" else part | {"stderr": said}


def alone(name: str, toy: bool, out: Path, errors: Path) -> None:
    """One part in a process of its own, forked from one that has imported everything."""
    import torch

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
    if torch.cuda._is_in_bad_fork():  # an import has touched the GPU: no fork may use it
        arguments = ["--part", name, "--out", str(out), *(["--toy"] if toy else [])]
        os.execv(sys.executable, [sys.executable, __file__, *arguments])
    measure(name, toy, out)


def rows_of(name: str, out: Path) -> Path:
    return out / f".{name.replace(' ', '-')}.jsonl"


def measure(name: str, toy: bool, out: Path) -> None:
    """One part, in this process."""
    from gpu_kit.parts import asking, cell, environment, parity, steps
    from gpu_kit.settings import TOY, Rows, Settings

    kind, settings, rows = name.split()[0], TOY if toy else Settings(), Rows(rows_of(name, out))
    model = PARTS[name][0]
    if kind == "environment":
        environment.run(settings, rows)
    elif kind == "mini":
        cell.run(out / "mini", settings, rows)
    else:
        {"grpo": steps.run, "parity": parity.run, "prediction": asking.run}[kind](model, settings, rows)


if __name__ == "__main__":
    raise SystemExit(main())
