"""Where raw data comes from: one module a source, each writing `images/` and `annotations.json`.

Choosing the source of a cell belongs to the stage `raw`.

An official source has a model `Settings` (what a benchmark may say of it) and a function

    write(directory: Path, settings: Settings, cache: Path) -> None

that fetches what is missing into `cache` and makes `directory` hold `images/SPLIT/NAME` and `annotations.json`, or
raises InputError and writes nothing. `download` lists the environment variables it obeys.
"""

import importlib
from types import ModuleType

from vrft_core.errors import InputError

OFFICIAL = {
    "lvis": "LVIS v1",
    "coco": "COCO 2017",
    "lvisovd": "COCO 2017 trained on, LVIS v1 evaluated",
    "flowers102": "Oxford Flowers-102",
    "pets37": "Oxford-IIIT Pet",
    "aircraft100": "FGVC-Aircraft variants",
    "cars196": "Stanford Cars",
    "reasonseg": "ReasonSeg",
    "refcoco": "RefCOCO, RefCOCO+, RefCOCOg",
    "virft": "the paper's own training sets",
    "rf20vl": "a data set of RF20-VL",
}


def get(name: str) -> ModuleType:
    """An official source by name, imported when asked for. Raises InputError for one there is not."""
    if name not in OFFICIAL:
        raise InputError("official", f"no source {name!r}", f"known: {', '.join(OFFICIAL)}")
    return importlib.import_module(f"vrft_core.sources.{name}")
