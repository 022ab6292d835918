"""The families there are: one module each beside this one; no list of them. A module is imported when it is asked for.

How to add one: a module with a `FAMILY`, and a recipe that names it.
"""

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from vrft_core.errors import InputError
from vrft_core.families.family import Family

PACKAGE = "vrft_core.families"
PARTS = {"family", "registry", "formats", "frames", "form"}  # the modules that are no family


def get(name: str) -> Family:
    """The family called `name`, such as qwen2.5-vl. Raises InputError naming the families that exist."""
    module = name.replace(".", "_").replace("-", "_")
    if module in _modules():
        family = import_module(f"{PACKAGE}.{module}").FAMILY
        if family.name == name:
            return family
    raise InputError("policy.family", f"no family {name!r}", f"known: {', '.join(names())}")


@cache
def names() -> tuple[str, ...]:
    """Every family, by name."""
    return tuple(family.name for family in everyone())


@cache
def everyone() -> tuple[Family, ...]:
    return tuple(import_module(f"{PACKAGE}.{module}").FAMILY for module in _modules())


def of_model(model_type: str) -> Family | None:
    """The family of a checkpoint by `model_type` in its config.json; None for one that has no module here."""
    return next((family for family in everyone() if model_type in family.model_types), None)


@cache
def _modules() -> tuple[str, ...]:
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return tuple(sorted(name for name in found if name not in PARTS))
