"""A copy of a project in which a share of the classification training labels is wrong.

    python bench/noisy_labels.py ROOT NEW icons-embedded 0.3 --seed 0

Each wrong label is another class, drawn evenly; validation and evaluation images keep theirs. NEW gets the data and
ROOT's `params.yaml`, and a link to ROOT's models: it is a ROOT for `bench/mini_study.py`. It prints how many labels are
wrong, and how many of the few-shot sample of each cell of the grid that uses these data.
"""

import argparse
import random
import shutil
from pathlib import Path

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Layout
from vrft_core.commands.cell_examples import Subject
from vrft_core.tasks import load_params


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


def samples(root: Path, data: str, truth: Annotations) -> dict[str, tuple[int, int]]:
    """Cell → how many images of its few-shot sample have another label than in `truth`, and how many it has."""
    layout, params, found = Layout(root), load_params(root / "params.yaml"), {}
    for cell in params.cells():
        if cell.at("data").key == data:
            pairs = Subject(layout, params, cell).pairs
            wrong = sum(truth.category_ids(image) != [said] for image, said in pairs)
            found[cell.key] = wrong, len(pairs)
    return found


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
    truth = Annotations.load(args.root / "data/raw" / args.data / "annotations.json")
    for key, (wrong, size) in samples(args.new, args.data, truth).items():
        print(f"{key}: {wrong} of {size}")


if __name__ == "__main__":
    main()
