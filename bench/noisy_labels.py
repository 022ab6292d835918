"""A copy of a project in which a share of the classification training labels is wrong.

    python bench/noisy_labels.py ROOT NEW icons-embedded 0.3 --seed 0

Each wrong label is another class, drawn evenly; validation and evaluation images keep theirs. NEW gets the data and
ROOT's `params.yaml`, and a link to ROOT's models: it is a ROOT for `bench/mini_study.py`.
"""

import argparse
import random
import shutil
from pathlib import Path

from vrft_core import io


def spoiled(data: dict, share: float, seed: int) -> tuple[dict, int]:
    """The annotations with `share` of the training images' labels wrong, and how many those are."""
    train = [image for image in data["images"] if image["split"] == "train"]
    rows = {row["image_id"]: row for row in data["annotations"]}
    classes = sorted(category["id"] for category in data["categories"])
    rng = random.Random(f"wrong labels/{seed}")
    chosen = rng.sample(train, round(share * len(train)))
    for image in chosen:
        true = rows[image["id"]]["category_id"]
        said = rng.choice([one for one in classes if one != true])
        rows[image["id"]]["category_id"] = said
        image["neg_category_ids"] = sorted({*image["neg_category_ids"], true} - {said})
    return data, len(chosen)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("root", type=Path)
    options.add_argument("new", type=Path)
    options.add_argument("data", metavar="DATA", help="data/raw/DATA, one label an image")
    options.add_argument("share", type=float)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    shutil.copytree(args.root / "data/raw" / args.data, args.new / "data/raw" / args.data)
    shutil.copyfile(args.root / "params.yaml", args.new / "params.yaml")
    (args.new / "models").symlink_to((args.root / "models").resolve(), target_is_directory=True)
    path = args.new / "data/raw" / args.data / "annotations.json"
    data, wrong = spoiled(io.read_json(path), args.share, args.seed)
    io.write_json(path, data)
    print(f"{path}: {wrong} wrong labels")


if __name__ == "__main__":
    main()
