"""Labels of images that are not there, as where a folder was copied in part: left out, or a problem."""

from collections.abc import Collection, Mapping
from pathlib import Path

from vrft_core.sources.coco_json import Problems


def left_out(
    missing: Mapping[str, object], found: Collection, unlabelled: Collection[str], folder: Path, problems: Problems
) -> list[str]:
    """A remark on labels that are left out: those of images that are not there, where all images there have labels.

    Else one of those without labels may be meant, under another name: that is a problem, as where no image is there.
    `missing`: the name that a label gives → where it does; `found`: labelled images that are there.
    """
    if missing and found and not unlabelled:
        said = f"{len(missing)}, such as {next(iter(missing))[:100]!r}"
        return [f"left out, labels of images that are not in the folder: {said}"]
    also = f"; images without labels: {len(unlabelled)}, such as {min(unlabelled)!r}" if unlabelled else ""
    for said, where in missing.items():
        problem = f"labels an image {said[:100]!r}, which is not in {folder}{also}"
        problems.add(where, problem, "give both the same name, add the image, or remove its labels")
    return []
