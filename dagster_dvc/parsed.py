"""What DVC does again and again, done once: most of what a look at a stage costs.

It parses dvc.yaml, dvc.lock and params.yaml anew each time, in Python, and for each parameter walks through all of
params.yaml. It has no setting for either, so two functions that it calls are replaced; what they return is the same.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

KEPT = 16  # texts: those three, versions of dvc.lock, and entries of DVC's cache of runs
PATTERN = re.compile(r"[*?\[\]]")


def once() -> None:
    """From now on, in this process. Calling it again changes nothing."""
    from dvc.dependency import param
    from dvc.utils import strictyaml
    from dvc.utils.serialize import _yaml

    if not isinstance(_yaml.parse_yaml, Parser):
        parser = Parser(_yaml.parse_yaml)
        for module in (_yaml, strictyaml):
            module.__dict__["parse_yaml"] = parser
        dpath = param.dpath
        param.__dict__["dpath"] = SimpleNamespace(**vars(dpath) | {"get": quick_get(dpath.get)})


class Parser:
    """`parse`: DVC's `parse_yaml`. Every caller gets values of its own; an error is raised each time."""

    def __init__(self, parse: Callable[..., Any]) -> None:
        self._parse = parse
        self._kept = lru_cache(KEPT)(parse)

    def __call__(self, text: str, path: Any, typ: str = "safe") -> Any:
        if typ != "safe":  # with comments and line breaks, to be written again
            return self._parse(text, path, typ)
        return deepcopy(self._kept(text, str(path)))


def quick_get(get: Callable[..., Any]) -> Callable[..., Any]:
    """`dpath.get` that goes straight to what a name without patterns stands for; anything else is left to `get`."""

    def found(values: Any, path: str, separator: str = "/") -> Any:
        value = values
        for name in [None] if PATTERN.search(path) else path.split(separator):
            if not isinstance(value, dict) or name not in value:
                return get(values, path, separator=separator)
            value = value[name]
        return value

    return found
