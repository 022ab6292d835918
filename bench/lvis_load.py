"""How long LVIS v1's training annotations take to load, and how much memory: `python bench/lvis_load.py`.

Makes a file of the official size (100,170 images, 1,270,141 annotations with polygons, about 1.1 GB) once, in the
folder given (default: /tmp), and reads it in fresh processes in three ways: `sources.lvis_json`, the same out of a zip
as it is published, and json.load with the indexes that the `lvis` package builds. Then takes a few-shot sample of all
categories from all images, ten images each and one question about something absent beside each.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path

IMAGES, ANNOTATIONS, CATEGORIES = 100_170, 1_270_141, 1203


def make(path: Path) -> None:
    """LVIS v1's keys in their published order; outlines of 24 points on average give the published size."""
    rng = random.Random(0)
    outlines = [
        [[round(rng.uniform(0, 640), 2) for _ in range(2 * rng.choice((8, 16, 24, 40, 60, 100)))]] for _ in range(2000)
    ]
    texts = [json.dumps(outline) for outline in outlines]
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"info": {"description": "synthetic"}, "annotations": [')
        for i in range(1, ANNOTATIONS + 1):
            x, y, w, h = (round(rng.uniform(1, 200), 2) for _ in range(4))
            file.write(
                ("" if i == 1 else ", ")
                + f'{{"area": {w * h:.2f}, "id": {i}, "segmentation": {texts[i % len(texts)]}, '
                + f'"image_id": {rng.randrange(1, IMAGES + 1)}, "bbox": [{x}, {y}, {w}, {h}], '
                + f'"category_id": {rng.randrange(1, CATEGORIES + 1)}}}'
            )
        images = (
            {
                "date_captured": "2013-11-14 17:02:52",
                "neg_category_ids": rng.sample(range(1, CATEGORIES + 1), 6),
                "license": 4,
                "height": 480,
                "width": 640,
                "flickr_url": "http://farm8.staticflickr.com/7268/8155926622_7f6b77f3fb_z.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{i:012d}.jpg",
                "not_exhaustive_category_ids": [1],
                "id": i,
            }
            for i in range(1, IMAGES + 1)
        )
        file.write('], "images": [' + ", ".join(map(json.dumps, images)) + '], "licenses": [], "categories": ')
        names = [
            {
                "image_count": 1,
                "synonyms": [f"c{i}"],
                "def": "a thing",
                "id": i,
                "synset": f"c{i}.n.01",
                "name": f"c{i}",
                "frequency": "r",
                "instance_count": 1,
            }
            for i in range(1, CATEGORIES + 1)
        ]
        file.write(json.dumps(names) + "}")


def read(way: str, path: Path) -> int:
    from vrft_core.sources import archives, lvis_json

    if way == "plain":
        with open(path, "rb") as stream:
            data = lvis_json.load(stream, path)
    elif way == "zip":
        with archives.stream(path.with_suffix(".json.zip"), path.name) as stream:
            data = lvis_json.load(stream, path)
    else:  # what LVIS.__init__ and _create_index do
        with open(path) as file:
            data = json.load(file)
        by_image: dict[int, list] = {}
        for row in data["annotations"]:
            by_image.setdefault(row["image_id"], []).append(row)
        index = {row["id"]: row for row in data["annotations"]}
        return len(index)
    return len(data["annotations"])


def sample(path: Path) -> None:
    from vrft_core import sampling
    from vrft_core.annotations import Annotations
    from vrft_core.params import FewShot
    from vrft_core.sources import lvis_json

    with open(path, "rb") as stream:
        data = lvis_json.load(stream, path)
    for row in data["images"]:
        row |= {"split": "train", "sha256": f"{row['id']:064x}"}
    for row in data["annotations"]:  # 3.4 categories an image, as in LVIS
        image = row["image_id"]
        row["category_id"] = 1 + (97 * image + 401 * (row["id"] % (3 + (image % 5 < 2)))) % CATEGORIES
    data["annotations"].sort(key=lambda row: row["image_id"])  # as the stage `raw` writes them, and `few_shot` reads
    whole = Annotations.from_dict(json.loads(json.dumps(data)))
    del data["annotations"]
    settings = FewShot(frequencies=["f", "c", "r"], when_short="all", negatives=1)
    began = time.process_time()
    names = [row["name"] for row in data["categories"][1:]]  # the first one is annotated in part everywhere
    categories = sampling.targets(whole, settings.frequencies, names)
    chosen = sampling.choose(whole, categories, settings, 10, 0, [row["id"] for row in categories])
    images = sum(len(one["images"]) for one in chosen["categories"])
    print(f"sample {time.process_time() - began:6.1f} s of CPU: {images:,} images of {len(categories):,} categories")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("/tmp"))
    parser.add_argument("--way", choices=["plain", "zip", "json", "sample"])
    args = parser.parse_args()
    path = args.folder / "lvis_v1_train.json"
    if args.way == "sample":
        return sample(path)
    if args.way:
        began = time.process_time()
        count = read(args.way, path)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{args.way:6} {time.process_time() - began:6.1f} s of CPU, {peak:.2f} GB at most, {count:,} annotations")
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        make(path)
    if not path.with_suffix(".json.zip").exists():
        with zipfile.ZipFile(path.with_suffix(".json.zip"), "w", zipfile.ZIP_DEFLATED) as file:
            file.write(path, path.name)
    print(f"{path}: {path.stat().st_size / 1e9:.2f} GB")
    for way in ("plain", "zip", "json", "sample"):
        subprocess.run([sys.executable, __file__, str(args.folder), "--way", way], check=True)


if __name__ == "__main__":
    main()
