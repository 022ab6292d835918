"""How often 95 % intervals cover, by simulation: today's and percentile bootstraps side by side, as a Markdown table.

A pool of many images with predictions is the population; samples of few images are drawn from it with replacement, and
each gets its intervals. What should be covered is known from the pool:

* AP, APr, accuracy …: the mean over fresh samples of the same size;
* corrected AP: the AP of the whole pool;
* over seeds: the mean over fresh samples and over all training runs of the pool.

The pools are drawn: `tail` has 40 categories of Zipf frequencies, `eight` has eight of equal ones; in both, categories
are asked about in images where they are verified to be absent (which LVIS and COCO count) and where that is unknown
(which only COCO counts). With --annotations and --predictions, evaluation images that a model really answered about
are the pool instead: annotations.json and one predictions.jsonl for each model (the first minus the second is the
difference); take many more images than --images.

    python bench/coverage.py                                       # all of docs/intervals.md but the real pool
    python bench/coverage.py --quick                               # under a minute
    python bench/coverage.py --what detection --annotations A.json --predictions RFT.jsonl SFT.jsonl
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vrft_core.evaluation.intervals import intervals, intervals_over_seeds
from vrft_core.evaluation.ratio_scores import RatioScores
from vrft_core.evaluation.scores import MetricSpec, Scores
from vrft_core.tasks.detection.metrics.average_precision import Matches
from vrft_core.tasks.detection.metrics.columns import Detections, Truth
from vrft_core.tasks.detection.metrics.detection_scores import DetectionScores
from vrft_core.tasks.detection.metrics.matching import match

PROTOCOLS = ("lvis", "coco")
MEASURES = ("lvis/AP", "lvis/AP50", "lvis/APr", "coco/AP", "coco/AP50")
PAIR = (("rft", "sft"),)
SEEDS = 3
MARGIN = {"rft": 0.07, "sft": 0.085}  # standard deviation of the boxes' edges, shares of their sides


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    samples: int = 400
    draws: int = 150  # halves, and resamples of the percentile bootstrap
    fresh: int = 1000  # samples whose mean is the expected value
    pool: int = 6000
    runs: int = 16  # training runs of each method, from which seeds are drawn


QUICK = Size(samples=40, draws=60, fresh=200, pool=1500, runs=4)


class Tally:
    """(what, images) → method → [covered or not, width]"""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, dict[str, list]]] = {}

    def add(self, what: str, images: int, method: str, entry: dict, truth: float) -> None:
        if entry["low"] is not None and not np.isnan(truth):
            cell = self.rows.setdefault(what, {}).setdefault(images, {}).setdefault(method, [])
            cell.append((entry["low"] <= truth <= entry["high"], entry["high"] - entry["low"]))

    def coverage(self, what: str, images: int, method: str) -> float:
        """In %."""
        return 100 * float(np.mean([covered for covered, _ in self.rows[what][images][method]]))

    def markdown(self) -> Iterator[str]:
        """A row for each quantity; each cell: percentile → adopted (mean width of the adopted over the percentile's)"""
        sizes = sorted({images for cells in self.rows.values() for images in cells})
        yield "| | " + " | ".join(f"{images} images" for images in sizes) + " |"
        yield "|---|" + "---|" * len(sizes)
        for what, cells in self.rows.items():
            yield f"| {what} | " + " | ".join(self._cell(what, i) if i in cells else "" for i in sizes) + " |"

    def _cell(self, what: str, images: int) -> str:
        widths = {name: np.mean([width for _, width in cell]) for name, cell in self.rows[what][images].items()}
        old, new = (f"{self.coverage(what, images, name):.1f}" for name in ("percentile", "adopted"))
        wider = f" (×{widths['adopted'] / widths['percentile']:.2f})" if all(widths.values()) else ""
        return f"{old} → **{new}**{wider}"


def percentile(seeds: list[dict[str, Scores]], draws: int, generator: np.random.Generator) -> dict:
    """What is compared with: percentiles of metrics counted on images drawn with replacement; over several seeds, on
    seeds drawn with replacement too. The shape of `intervals`, without values."""
    names, metrics = list(seeds[0]), next(iter(seeds[0].values())).metrics
    images = len(next(iter(seeds[0].values())).units)
    weights = np.array(
        [np.bincount(drawn, minlength=images) for drawn in generator.integers(images, size=(draws, images))]
    )
    values = {id(one): one.values(weights) for models in seeds for one in models.values()}
    found = np.stack([np.stack([values[id(models[name])] for name in names], axis=1) for models in seeds], axis=1)
    picks = generator.integers(len(seeds), size=(draws, len(seeds)))
    mean = np.take_along_axis(found, picks[:, :, None, None], axis=1).mean(axis=1)  # [B, models, M]

    def entries(values: np.ndarray) -> dict:
        known = [one[~np.isnan(one)] for one in values.T]
        ends = [np.quantile(one, [0.025, 0.975]) if len(one) else (None, None) for one in known]
        return {spec.name: {"low": low, "high": high} for spec, (low, high) in zip(metrics, ends, strict=True)}

    pairs = [(a, b) for a, b in PAIR if a in names and b in names]
    return {
        "models": {name: entries(mean[:, index]) for index, name in enumerate(names)},
        "differences": {f"{a}-{b}": entries(mean[:, names.index(a)] - mean[:, names.index(b)]) for a, b in pairs},
    }


# ------------------------------------------------------------------------------------------------ pools of images
@dataclass(frozen=True)
class Pool:
    """Matched once: protocol → model → run → matches of all images."""

    matches: dict[str, dict[str, list[Matches]]]

    @property
    def images(self) -> int:
        return len(self.matches[PROTOCOLS[0]]["rft"][0].image_ids)

    def scores(self, model: str, run: int, names: Sequence[str], drawn: np.ndarray | None = None) -> DetectionScores:
        """Of the images drawn (positions, possibly repeated), or of all."""
        used = dict.fromkeys(name.split("/")[0] for name in names)
        each = {protocol: self.matches[protocol][model][run] for protocol in used}
        return DetectionScores(
            each if drawn is None else {protocol: select(one, drawn) for protocol, one in each.items()}, names
        )


def select(matches: Matches, drawn: np.ndarray) -> Matches:
    """A sample of images: each drawn one is an image of its own, with its detections and objects."""
    detection, image = _members(matches.image, drawn, len(matches.image_ids))
    truth, truth_image = _members(matches.truth_image, drawn, len(matches.image_ids))
    category = np.repeat(np.arange(len(matches.categories)), np.diff(matches.starts))[detection]
    order = np.lexsort((image, -matches.score[detection], category))
    detection, image = detection[order], image[order]
    return replace(
        matches,
        image_ids=np.arange(len(drawn)),
        row=detection,
        image=image,
        score=matches.score[detection],
        rank=matches.rank[detection],
        starts=np.searchsorted(category[order], np.arange(len(matches.categories) + 1)),
        outcome=matches.outcome[:1, :, detection],
        truth_image=truth_image,
        truth_category=matches.truth_category[truth],
        truth_counted=matches.truth_counted[:1, truth],
    )


def _members(image: np.ndarray, drawn: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows belong to the drawn images, and to which draw each belongs."""
    order = np.argsort(image, kind="stable")
    start = np.searchsorted(image[order], np.arange(images + 1))
    count = start[drawn + 1] - start[drawn]
    draw = np.repeat(np.arange(len(drawn)), count)
    return order[np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + start[drawn][draw]], draw


def draw_pool(kind: str, images: int, runs: int, seed: int) -> Pool:
    """Objects and, for each method and training run, detections: recall, precision of the edges and scores vary with
    image, category, object, method and run, partly together."""
    rng = np.random.default_rng([seed, 1])
    categories = {"tail": 40, "eight": 8}[kind]
    share = 1 / np.arange(1, categories + 1) if kind == "tail" else np.ones(categories)
    share /= share.sum()
    letters = list("rrccffff") if kind == "eight" else ["f" if p > 0.03 else "c" if p > 0.012 else "r" for p in share]
    asked = np.array([rng.choice(categories, size=6, replace=False, p=share) for _ in range(images)])
    present = np.arange(6) < rng.choice([1, 1, 1, 2], size=images)[:, None]
    negatives, unknown = asked[:, 2:4], asked[:, 4:]
    image, slot = np.nonzero(present)
    count = 1 + rng.poisson(0.6, len(image))
    clear = np.repeat(rng.normal(size=len(image)), count)  # of an image and category
    image, category = np.repeat(image, count), np.repeat(asked[image, slot], count)
    box = _boxes(rng, len(image))
    easy, hard = rng.normal(size=len(image)), rng.normal(0, 0.4, categories)
    recall = rng.uniform(0.75, 0.97, categories)
    truth = {
        "images": [
            {"id": i, "neg_category_ids": negatives[i].tolist(), "not_exhaustive_category_ids": []}
            for i in range(images)
        ],
        "categories": [{"id": k, "name": f"category {k}", "frequency": letters[k]} for k in range(categories)],
        "annotations": [
            {"id": n + 1, "image_id": int(i), "category_id": int(k), "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
            for n, (i, k, b) in enumerate(zip(image, category, box.tolist(), strict=True))
        ],
    }
    truths = {protocol: Truth.of(truth, protocol) for protocol in PROTOCOLS}
    asked_about = np.concatenate([np.stack([image, category], 1)] + [
        np.stack([np.repeat(np.arange(images), 2), absent.ravel()], 1) for absent in (negatives, unknown)
    ])  # fmt: skip
    matches = {protocol: {model: [] for model in MARGIN} for protocol in PROTOCOLS}
    for model, margin in MARGIN.items():
        for _ in range(runs):
            skill = margin * np.exp(rng.normal(0, 0.06) + rng.normal(0, 0.12, categories))  # of this training run
            found = rng.random(len(image)) < recall[category] - 0.5 * (margin - 0.07)
            sd = (skill[category] * np.exp(-0.3 * clear - 0.2 * easy + hard[category]))[found]
            shift = rng.normal(size=(len(sd), 4)) * sd[:, None]
            true = box[found]
            boxes = np.concatenate(
                [true[:, :2] + shift[:, :2] * true[:, 2:], true[:, 2:] * np.exp(shift[:, 2:])], axis=1
            )
            score = np.exp(-2.5 * sd - np.abs(shift).mean(axis=1) + rng.normal(0, 0.15, len(sd)))
            twice = rng.random(len(sd)) < 0.06
            invented = asked_about[rng.random(len(asked_about)) < 0.12]
            pairs = np.concatenate([
                np.stack([image[found], category[found]], 1), np.stack([image[found], category[found]], 1)[twice],
                invented,
            ])  # fmt: skip
            detections = Detections(
                pairs[:, 0],
                pairs[:, 1],
                np.concatenate([boxes, boxes[twice] * 1.02, _boxes(rng, len(invented))]),
                np.concatenate(
                    [score, score[twice] * rng.random(twice.sum()), 0.9 * np.sqrt(rng.random(len(invented)))]
                ),
            )
            for protocol, one in truths.items():
                matches[protocol][model].append(match(one, detections, protocol))
    return Pool(matches)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.concatenate([rng.uniform(0, 400, (count, 2)), rng.uniform(20, 200, (count, 2))], axis=1)


def read_pool(annotations: Path, predictions: Sequence[Path], ranking: str) -> Pool:
    """Real evaluation images and rows of `vrft predict`."""
    from vrft_core import io
    from vrft_core.annotations import Annotations
    from vrft_core.tasks.detection.metrics.ranking import ranked
    from vrft_core.tasks.detection.metrics.scores import match_rows

    data = io.read_json(annotations)
    matches: dict = {protocol: {} for protocol in PROTOCOLS}
    for model, path in zip(("rft", "sft"), predictions, strict=False):
        rows = io.read_jsonl(path)
        asked = {row["image_id"] for row in rows}
        truth = Annotations.from_dict({
            **data,
            "images": [one for one in data["images"] if one["id"] in asked],
            "annotations": [one for one in data["annotations"] if one["image_id"] in asked],
        })  # fmt: skip
        categories = sorted({row["category_id"] for row in rows})
        for protocol, one in match_rows(truth, ranked(rows, ranking), categories).items():
            matches[protocol][model] = [one]
    return Pool(matches)


# ------------------------------------------------------------------------------------------------ studies
def detection(title: str, pool: Pool, images: int, size: Size, seed: int, tally: Tally) -> None:
    """AP, corrected AP and paired differences of one training run each."""
    models = list(pool.matches["lvis"])
    rng = np.random.default_rng([seed, images, 2])

    def sample() -> dict[str, DetectionScores]:
        drawn = rng.integers(pool.images, size=images)
        return {model: pool.scores(model, 0, MEASURES, drawn) for model in models}

    whole = dict(zip(MEASURES, pool.scores("rft", 0, MEASURES).values(), strict=True))
    fresh = [{model: one.values() for model, one in sample().items()} for _ in range(size.fresh)]
    expected = {m: dict(zip(MEASURES, np.nanmean([one[m] for one in fresh], axis=0), strict=True)) for m in models}
    gaps = np.nanmean([one["rft"] - one["sft"] for one in fresh], axis=0) if len(models) > 1 else np.zeros(0)
    for number in range(size.samples):
        scores = sample()
        found = {
            "percentile": percentile([scores], size.draws, rng),
            "adopted": intervals(scores, size.draws, number, PAIR),
        }
        for method, one in found.items():
            for name, entry in one["models"]["rft"].items():
                tally.add(f"{title}: {name}", images, method, entry, expected["rft"][name])
                if name != "lvis/AP50" and name != "coco/AP50":
                    whole_of = entry.get("corrected", entry if method == "percentile" else None)
                    if whole_of:
                        tally.add(f"{title}: {name}, corrected", images, method, whole_of, whole[name])
            for name, gap in zip(MEASURES, gaps, strict=False):
                tally.add(f"{title}: {name}, difference", images, method, one["differences"]["rft-sft"][name], gap)


def over_seeds(title: str, pool: Pool, images: int, size: Size, seed: int, tally: Tally) -> None:
    """The mean over training seeds, and of paired differences."""
    names, rng = ("lvis/AP", "lvis/APr"), np.random.default_rng([seed, images, 3])
    runs = len(pool.matches["lvis"]["rft"])

    def means(count: int) -> np.ndarray:  # [2 models, M], over all runs
        drawn = (rng.integers(pool.images, size=images) for _ in range(count))
        return np.nanmean(
            [[[pool.scores(m, r, names, d).values() for r in range(runs)] for m in MARGIN] for d in drawn], axis=(0, 2)
        )

    expected = dict(zip(MARGIN, means(max(size.fresh // 5, 40)), strict=True))
    for number in range(size.samples // 2):
        drawn = rng.integers(pool.images, size=images)
        picks = {model: rng.integers(runs, size=SEEDS) for model in MARGIN}
        scores = [{m: pool.scores(m, picks[m][s], names, drawn) for m in MARGIN} for s in range(SEEDS)]
        found = {
            "percentile": percentile(scores, size.draws, rng),
            "adopted": intervals_over_seeds(scores, size.draws, number, PAIR),
        }
        for method, one in found.items():
            for index, name in enumerate(names):
                tally.add(
                    f"{title}, {SEEDS} seeds: {name}", images, method, one["models"]["rft"][name],
                    expected["rft"][index],
                )  # fmt: skip
                tally.add(
                    f"{title}, {SEEDS} seeds: {name}, difference", images, method,
                    one["differences"]["rft-sft"][name], expected["rft"][index] - expected["sft"][index],
                )  # fmt: skip


ACCURACIES = (0.5, 0.9, 0.98)
CLASSES = 20
CLASS_SKILL = np.linspace(0.6, 0.98, CLASSES)


def ratios(images: int, size: Size, seed: int, tally: Tally) -> None:
    """Accuracies, their paired difference, accuracy averaged over classes, mean and cumulative IoU."""
    rng = np.random.default_rng([seed, images, 4])
    single = [MetricSpec(f"accuracy {p}", "", "share") for p in ACCURACIES]
    several = MetricSpec("accuracy 0.7, three answers an image", "", "share")
    other = [MetricSpec("mean IoU", "", "mean"), MetricSpec("cumulative IoU", "", "mean")]
    per_class = MetricSpec(f"accuracy averaged over {CLASSES} classes", "", "macro")
    change = [MetricSpec("accuracy, +5 % and −3 % changed: difference", "", "share")]

    def overlaps(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """IoU, intersection and union; large objects are easier."""
        area = rng.lognormal(0, 1, count)
        iou = np.where(rng.random(count) < 0.15, 0.0, rng.beta(4 + area, 2, count))
        return iou, 2 * area * iou / (1 + iou), 2 * area / (1 + iou)

    _, over, under = overlaps(2_000_000)
    below = (over[: len(over) // images * images].reshape(-1, images).sum(axis=1),
             under[: len(over) // images * images].reshape(-1, images).sum(axis=1))  # fmt: skip
    iou_truth = {"mean IoU": np.mean(overlaps(2_000_000)[0]), "cumulative IoU": np.mean(below[0] / below[1])}
    share = 1 / np.arange(1, CLASSES + 1) ** 0.7
    share /= share.sum()
    lists = rng.choice(CLASSES, p=share, size=(4000, images))
    per_class_truth = np.mean([CLASS_SKILL[np.unique(row)].mean() for row in lists])
    ones = np.ones(images)
    for number in range(size.samples * 2):
        iou, inter, union = overlaps(images)
        right = [rng.random(images) < p for p in ACCURACIES]
        one = RatioScores.of([*single, *other], [*right, iou, inter], [ones, ones, ones, ones, union])
        common = rng.normal(size=(images, 1))
        thrice = np.sqrt(0.4) * common + np.sqrt(0.6) * rng.normal(size=(images, 3)) < 0.5244
        many = RatioScores.of([several], [thrice.ravel()], [np.ones(3 * images)], np.repeat(np.arange(images), 3))
        label = rng.choice(CLASSES, p=share, size=images)
        by_class = RatioScores.of([per_class], [rng.random(images) < CLASS_SKILL[label]], [ones], parts=label)
        before, luck = rng.random(images) < 0.6, rng.random(images)
        after = np.where(before, luck > 0.05, luck < 0.125)  # of .6 right 5 % are lost, of .4 wrong 12.5 % gained
        pair = {name: RatioScores.of(change, [x], [ones]) for name, x in (("rft", after), ("sft", before))}
        truths = dict(zip([m.name for m in single], ACCURACIES, strict=True)) | iou_truth
        truths |= {several.name: 0.7, per_class.name: per_class_truth}
        for scores in (one, many, by_class):
            for method, found in _both({"rft": scores}, size, number, rng):
                for name, entry in found["models"]["rft"].items():
                    tally.add(name, images, method, entry, truths[name])
        for method, found in _both(pair, size, number, rng):
            tally.add(change[0].name, images, method, found["differences"]["rft-sft"][change[0].name], 0.02)


def _both(models: dict[str, Scores], size: Size, number: int, rng: np.random.Generator) -> list[tuple[str, dict]]:
    return [
        ("percentile", percentile([models], size.draws, rng)),
        ("adopted", intervals(models, size.draws, number, PAIR)),
    ]


# ------------------------------------------------------------------------------------------------ command line
def run(
    what: Sequence[str], images: Sequence[int], size: Size, seed: int, real: Pool | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Tally:  # fmt: skip
    """`what`: of detection, seeds, ratios. `say` gets a line of progress after each study."""
    tally, started = Tally(), time.process_time()

    def done(name: str) -> None:
        say("\n".join([*tally.markdown(), f"{time.process_time() - started:6.0f} CPU s, so far with {name}", ""]))

    if "ratios" in what:
        for n in images:
            ratios(n, size, seed, tally)
            done(f"ratios, {n} images")
    if "detection" in what:
        for kind, title in (("tail", "long tail"), ("eight", "8 categories")) if real is None else (("", "real pool"),):
            pool = real or draw_pool(kind, size.pool, 1, seed)
            for n in images:
                detection(title, pool, n, size, seed, tally)
                done(f"{title}, {n} images")
    if "seeds" in what and real is None:
        pool = draw_pool("tail", size.pool, size.runs, seed + 1)
        for n in images:
            over_seeds("long tail", pool, n, size, seed, tally)
            done(f"seeds, {n} images")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--what", nargs="+", choices=["detection", "seeds", "ratios"], default=["ratios", "detection", "seeds"]
    )
    parser.add_argument("--images", type=int, nargs="+", default=[80, 200, 500])
    parser.add_argument("--samples", type=int, default=Size.samples, help="simulated evaluations of each size")
    parser.add_argument(
        "--draws", type=int, default=Size.draws, help="halves, and resamples of the percentile bootstrap"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few samples of a small pool: under a minute")
    parser.add_argument("--annotations", type=Path, help="a real pool: annotations.json")
    parser.add_argument(
        "--predictions", type=Path, nargs="+", default=[], help="its predictions.jsonl, one or two models"
    )
    parser.add_argument("--ranking", default="stated", help="which scores of a real pool count")
    args = parser.parse_args()
    if bool(args.annotations) != bool(args.predictions):
        parser.error("--annotations and --predictions belong together")
    size = QUICK if args.quick else Size(args.samples, args.draws)
    real = read_pool(args.annotations, args.predictions[:2], args.ranking) if args.annotations else None
    tally = run(args.what, args.images, size, args.seed, real, lambda line: print(line, file=sys.stderr, flush=True))
    print("$ python", shlex.join(sys.argv))
    pool = real.images if real else size.pool
    error = 100 * np.sqrt(0.95 * 0.05 / size.samples)
    print(
        f"{size.samples} samples of each size (twice as many of accuracies and IoU, half as many over seeds) from "
        f"pools of {pool} images, {size.draws} halves or resamples; Monte-Carlo error of 95 %: {error:.1f} points\n"
    )
    print("\n".join(tally.markdown()))


if __name__ == "__main__":
    main()
