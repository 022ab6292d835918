"""COCO and LVIS JSON; Roboflow's `_annotations.coco.json` in a folder for each split. The rows are `coco_json`'s."""

from vrft_core.sources import coco_json
from vrft_core.sources.formats.labels import Item, Label, Tree, split_of

TITLE = "COCO or LVIS JSON"
DESCRIBED = ("synset", "synonyms", "def")


def mine(tree: Tree, name: str) -> bool:
    data = tree.json(name)
    return isinstance(data, dict) and {"images", "annotations"} <= set(data)


def read(tree: Tree) -> None:
    for file in tree.of(mine):
        data = coco_json.checked(tree.root / file, tree.json(file), tree.problems)
        names, items = {i: row["name"] for i, row in data.categories.items()}, dict[int, Item]()
        tree.described |= {row["name"]: {key: row[key] for key in DESCRIBED} for row in data.categories.values()}
        for i, row in data.images.items():
            where = f"{tree.root / file}: image {i}"
            if not (item := tree.labelled(row["file_name"], file, where, split_of(file, last=True))):
                continue
            if item.size:
                problem = f"{row['file_name'][:100]!r} is also listed in {item.where}"
                here = item.where.startswith(f"{tree.root / file}: ")
                once = "list each image once; Label Studio, several annotators: export JSON"
                tree.problems.add(where, problem, once if here else "move one of the two label files away")
            item.size, items[i] = (row["width"], row["height"]), item
            item.absent = frozenset(names[i] for i in row["neg_category_ids"])
            item.partly = frozenset(names[i] for i in row["not_exhaustive_category_ids"])
        for row in data.annotations:
            if item := items.get(row["image_id"]):
                where = f"{tree.root / file}: annotation {row['id']}"
                item.labels.append(Label(names[row["category_id"]], tuple(row["bbox"]), where))
        if crowds := sum(image in items for image in data.crowds):
            said = f"left out of {file}, boxes of several objects (iscrowd), neither taught nor counted: {crowds}"
            tree.remarks.append(said)
