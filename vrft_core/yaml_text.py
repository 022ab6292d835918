"""YAML as plain data, from a file that may be hostile: what it costs is bounded before anything is built of it.

What the data mean belongs to `params`.
"""

from pathlib import Path
from typing import Any

import yaml

from vrft_core.errors import InputError

MAX_BYTES = 1_000_000
MAX_VALUES = 200_000  # with each alias counted as what it stands for: some 20,000 cells
MAX_DEPTH = 100  # libyaml's own recursion has no end but that of the stack
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # six times as fast where PyYAML comes with libyaml


def read(path: Path) -> str:
    """A file's text. Raises InputError where it is missing, too large or no UTF-8."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(path, "no such file", "run inside the project, or give --root") from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", "give a readable file") from None
    if len(data) > MAX_BYTES:
        raise InputError(path, f"is larger than {MAX_BYTES:,} bytes", "is it the right file?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(path, f"not UTF-8 at byte {error.start}", "save it as UTF-8") from None


def parse(text: str, path: Path) -> Any:
    """`text` as the content of `path`; anchors, aliases and merge keys as usual.

    Raises InputError where it is no YAML, or where aliases stand for more than `MAX_VALUES` values.
    """
    loader = None
    try:
        _refuse_depth(text, path)
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > MAX_VALUES:
            problem = f"means more than {MAX_VALUES:,} values, aliases written out"
            raise InputError(path, problem, "use fewer or smaller aliases")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InputError(path, f"not valid YAML: {error}", "fix the line named") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, f"not valid YAML: {error}", "fix that value") from None  # such as a 13th month
    finally:
        if loader:
            loader.dispose()


def _refuse_depth(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InputError(path, "not valid YAML: nested too deeply", "is it the right file?")


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for. Time follows the text's length, whatever the aliases stand for."""
    if (size := known.get(id(node))) is not None:
        if not size:
            mark = node.start_mark
            raise yaml.MarkedYAMLError(problem="an anchor that holds itself", problem_mark=mark)
        return size
    known[id(node)] = 0  # being counted
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(_size(child, known) for child in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(_size(key, known) + _size(value, known) for key, value in node.value)
    known[id(node)] = size
    return size
