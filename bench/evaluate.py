"""How long, and in how much memory, COCO and LVIS average precision takes from two JSON files, side by side.

The data are drawn, as large as LVIS v1 val unless told otherwise. Each engine runs in a process of its own; engines
that are not installed are left out. Differences in AP against this project are printed beside the times.
"""

import argparse
import contextlib
import io
import json
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

ENGINES = {"vrft": None, "hotcoco": "hotcoco", "faster-coco-eval": "faster-coco-eval", "pycocotools": "pycocotools"}
_SLOW_PAIRS = 2_000_000  # pycocotools keeps a record for each image, category and area


def draw(directory: Path, images: int, categories: int, detections: int, seed: int = 0) -> None:
    """Write gt.json (LVIS v1 fields and iscrowd) and dt.json (COCO results): long-tailed, federated, with ties."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, categories + 1)
    share /= share.sum()
    kinds = rng.poisson(3, images) + 1
    image = np.repeat(np.arange(images), kinds)
    category = rng.choice(categories, size=len(image), p=share)
    pair = np.unique(image * categories + category)
    count = rng.geometric(0.35, size=len(pair))
    pair = np.repeat(pair, count)
    corner, size = rng.uniform(0, 400, (len(pair), 2)), rng.gamma(1.5, 40, (len(pair), 2)) + 4
    box = np.concatenate([corner, size], axis=1).round(2)
    negatives = rng.choice(categories, size=(images, 8), p=share)
    present = {i: set() for i in range(images)}
    for i, k in zip(pair // categories, pair % categories, strict=True):
        present[int(i)].add(int(k))
    partial = rng.random(images) < 0.15
    truth = {
        "images": [
            {
                "id": i + 1,
                "width": 640,
                "height": 640,
                "neg_category_ids": sorted({int(k) + 1 for k in negatives[i]} - {k + 1 for k in present[i]}),
                "not_exhaustive_category_ids": [min(present[i]) + 1] if partial[i] and present[i] else [],
            }
            for i in range(images)
        ],
        "categories": [
            {"id": k + 1, "name": f"category {k + 1}", "frequency": "fcr"[min(2, 3 * k // categories)]}
            for k in range(categories)
        ],
        "annotations": [
            {
                "id": n + 1,
                "image_id": int(p // categories) + 1,
                "category_id": int(p % categories) + 1,
                "bbox": b,
                "area": round(b[2] * b[3] * 0.7, 2),
                "iscrowd": 0,
            }
            for n, (p, b) in enumerate(zip(pair, box.tolist(), strict=True))
        ],
    }
    near = rng.integers(len(pair), size=int(detections * 0.6))
    far = detections - len(near)
    far_image = rng.integers(images, size=far)
    far_category = np.where(
        rng.random(far) < 0.5, negatives[far_image, rng.integers(8, size=far)], rng.choice(categories, far, p=share)
    )
    far_box = np.concatenate([rng.uniform(0, 400, (far, 2)), rng.gamma(1.5, 40, (far, 2)) + 4], axis=1)
    shifted = box[near] + rng.normal(0, 0.12, (len(near), 4)) * np.tile(box[near, 2:], 2)
    shifted[:, 2:] = np.maximum(shifted[:, 2:], 1)
    found = np.concatenate([pair[near], far_image * categories + far_category])
    boxes = np.concatenate([shifted, far_box]).round(2)
    score = np.concatenate([rng.beta(4, 2, len(near)), rng.beta(2, 4, far)]).round(3)
    order = rng.permutation(detections)
    rows = [
        {"image_id": int(p // categories) + 1, "category_id": int(p % categories) + 1, "bbox": b, "score": s}
        for p, b, s in zip(found[order], boxes[order].tolist(), score[order].tolist(), strict=True)
    ]
    (directory / "gt.json").write_text(json.dumps(truth))
    (directory / "dt.json").write_text(json.dumps(rows))


def spent(since: tuple[float, float]) -> dict:
    """Wall and CPU seconds since (perf_counter, process_time)."""
    return {"seconds": time.perf_counter() - since[0], "cpu": time.process_time() - since[1]}


def run_engine(engine: str, rules: str, directory: Path, halves: int) -> dict:
    """Seconds of one engine in this process, from JSON files to the AP family."""
    gt, dt = str(directory / "gt.json"), str(directory / "dt.json")
    started = time.perf_counter(), time.process_time()
    numbers = {}
    if engine == "vrft":
        from vrft_core.evaluation.intervals import intervals
        from vrft_core.tasks.detection.metrics.average_precision import summary
        from vrft_core.tasks.detection.metrics.columns import Detections, Truth
        from vrft_core.tasks.detection.metrics.detection_scores import MEASURES, DetectionScores
        from vrft_core.tasks.detection.metrics.matching import match

        truth, found = Truth.load(Path(gt), rules), Detections.load(Path(dt))
        loaded = spent(started)
        matches = match(truth, found, rules)
        numbers["AP"] = summary(matches)["AP"]
        numbers["load"] = loaded
        numbers |= spent(started)
        if halves:
            names = [f"{rules}/{name}" for name in MEASURES if rules == "lvis" or name in matches.metrics]
            before = time.perf_counter(), time.process_time()
            intervals({"rft": DetectionScores({rules: matches}, names)}, halves, seed=0)
            numbers["intervals"] = spent(before)
    elif engine == "hotcoco":
        import hotcoco

        truth = hotcoco.COCO(gt)
        evaluation = hotcoco.COCOeval(truth, truth.load_res(dt), "bbox", lvis_style=rules == "lvis")
        evaluation.run()
        numbers["AP"] = evaluation.get_results()["AP"]
    elif engine == "faster-coco-eval":
        from faster_coco_eval import COCO, COCOeval_faster

        truth = COCO(gt)
        evaluation = COCOeval_faster(truth, truth.loadRes(dt), "bbox", lvis_style=rules == "lvis")
        if rules == "lvis":
            evaluation.params.maxDets = [300]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        numbers["AP"] = float(evaluation.stats[0])
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        truth = COCO(gt)
        evaluation = COCOeval(truth, truth.loadRes(dt), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        numbers["AP"] = float(evaluation.stats[0])
    numbers = spent(started) | numbers
    # Linux counts kilobytes, macOS bytes.
    numbers["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--categories", type=int, default=1_203)
    parser.add_argument("--detections", type=int, default=1_000_000)
    parser.add_argument("--halves", type=int, default=200, help="of the images, for intervals")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--draw", metavar="DIRECTORY", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, metavar=("ENGINE", "RULES", "DIRECTORY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.draw:
        draw(Path(args.draw), args.images, args.categories, args.detections)
        return
    if args.measure:
        engine, rules, directory = args.measure
        with contextlib.redirect_stdout(io.StringIO()):
            numbers = run_engine(engine, rules, Path(directory), args.halves)
        print(json.dumps(numbers))
        return
    print("$ python", shlex.join(sys.argv))
    with tempfile.TemporaryDirectory() as directory:
        # In a process of its own: a child's peak memory begins at its parent's.
        size_of = ("images", "categories", "detections")
        sizes = [word for name in size_of for word in (f"--{name}", str(getattr(args, name)))]
        subprocess.run([sys.executable, __file__, "--draw", directory, *sizes], check=True)
        size = sum(path.stat().st_size for path in Path(directory).iterdir())
        print(f"{args.images} images, {args.categories} categories, {args.detections} detections, {size / 1e6:.0f} MB")
        print(f"\n{'rules':9}{'engine':26}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}{'AP':>20}{'AP - ours':>12}")
        for rules in ("coco", "lvis"):
            ours = None
            for engine in args.engines:
                label, reason = _label(engine), _left_out(engine, rules, args)
                if reason:
                    print(f"{rules:9}{label:26}{reason}")
                    continue
                command = [sys.executable, __file__, "--measure", engine, rules, directory]
                command += ["--halves", str(args.halves)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    print(f"{rules:9}{label:26}failed: {done.stderr.strip().splitlines()[-1]}")
                    continue
                result = json.loads(done.stdout.strip().splitlines()[-1])
                ours = result["AP"] if engine == "vrft" else ours
                difference = f"{result['AP'] - ours:12.1e}" if ours is not None else ""
                print(
                    f"{rules:9}{label:26}{result['seconds']:9.2f}{result['cpu']:8.2f}{result['memory'] / 1e6:9.0f}"
                    f"{result['AP']:20.15f}{difference}"
                )
                if engine == "vrft":
                    print(f"{'':9}  of which reading the files {_seconds(result['load'])}")
                    if args.halves:
                        print(f"{'':9}  intervals from {args.halves} halves on top: {_seconds(result['intervals'])}")


def _seconds(one: dict) -> str:
    return f"{one['seconds']:.2f} s ({one['cpu']:.2f} CPU s)"


def _label(engine: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return f"{engine} {version(ENGINES[engine] or 'vrft')}"
    return engine


def _left_out(engine: str, rules: str, args: argparse.Namespace) -> str | None:
    try:
        version(ENGINES[engine] or "vrft")
    except PackageNotFoundError:
        return "not installed" if engine != "vrft" else None
    if engine == "pycocotools" and rules == "lvis":
        return "does not know LVIS"
    if engine == "pycocotools" and args.images * args.categories > _SLOW_PAIRS:
        return "left out at this size; try --images 1500 --detections 75000"
    return None


if __name__ == "__main__":
    main()
