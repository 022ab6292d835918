"""Rows put into YAML text and taken out of it. Every other byte stays: comments, order, layout, line ends.

`at` is a path of keys to a mapping or a list. Where a mapping or list ends empty, `{}` or `[]` is written, and such an
emptied one, or a key without a value, takes rows again. What the rows mean belongs to `params`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import yaml

Edit = tuple[int, int, str]  # from, to (characters of the text), what stands there afterwards


def add(text: str, at: Sequence[str], rows: Mapping[str, Any], after: Mapping[str, str] | None = None) -> str:
    """Rows of a mapping, one a line where it is a block. A key that is there already stays as it is.

    `after`: new key → the present key behind which it goes; without one, rows go to the end.
    """
    key, node = _find(text, at)
    entries = _entries(node)
    keys = [entry[0] for entry in entries]
    new = {name: f"{_flow(name)}: {_flow(row)}" for name, row in rows.items() if name not in keys}
    if not new:
        return text
    if not entries:
        return _fill(text, key, node, [*new.values()])
    assert isinstance(node, yaml.CollectionNode)
    places: dict[int, list[str]] = {}
    for name, line in new.items():
        behind = (after or {}).get(name)
        places.setdefault(keys.index(behind) if behind in keys else len(keys) - 1, []).append(line)
    return _apply(text, [_behind(text, node, entries[place], lines) for place, lines in places.items()])


def append(text: str, at: Sequence[str], items: Iterable[Any]) -> str:
    """Items of a list; those that are there already, told by their text, stay where they are."""
    key, node = _find(text, at)
    entries = _entries(node)
    known = [entry[0] for entry in entries]
    new = [*{str(item): _flow(item) for item in items if str(item) not in known}.values()]
    if not new:
        return text
    if not entries:
        return _fill(text, key, node, new, listed=True)
    assert isinstance(node, yaml.CollectionNode)
    return _apply(text, [_behind(text, node, entries[-1], new)])


def put(text: str, at: Sequence[str], value: Any) -> str:
    """Another value for a key that is there."""
    _, node = _find(text, at)
    return _apply(text, [(node.start_mark.index, node.end_mark.index, _flow(value))])


def remove(text: str, at: Sequence[str], names: Collection[Any]) -> str:
    """Rows of a mapping by their keys, or items of a list, with what is written behind them on their lines."""
    key, node = _find(text, at)
    entries = _entries(node)
    wanted = set(map(str, names))
    gone = [n for n, entry in enumerate(entries) if entry[0] in wanted]
    if not gone:
        return text
    assert isinstance(node, yaml.CollectionNode)
    empty = "{}" if isinstance(node, yaml.MappingNode) else "[]"
    if node.flow_style:
        if len(gone) == len(entries):
            return text[: node.start_mark.index] + empty + text[node.end_mark.index :]
        left = next(n for n in range(len(entries)) if n not in gone)  # what goes before it takes the comma behind it
        edits = [
            (entries[n][1], entries[n + 1][1], "") if n < left else (entries[n - 1][2], entries[n][2], "") for n in gone
        ]
        return _apply(text, edits)
    edits = []
    for n in gone:
        start, end = text.rfind("\n", 0, entries[n][1]) + 1, _line_end(text, entries[n][2])
        edits.append((start, end, ""))
    if len(gone) == len(entries):
        edits.append((key.end_mark.index, _colon(text, key), f": {empty}"))
    return _apply(text, edits)


def _find(text: str, at: Sequence[str]) -> tuple[yaml.Node, yaml.Node]:
    """The key and the value at the end of a path. Raises KeyError where there is none.

    `text` was read by `yaml_text.parse` before: libyaml crashes on text that is nested too deeply.
    """
    key = node = yaml.compose(text, Loader=yaml.CSafeLoader)
    for name in at:
        found = [pair for pair in (node.value if isinstance(node, yaml.MappingNode) else ()) if pair[0].value == name]
        if not found:
            raise KeyError(".".join(at))
        key, node = found[-1]
    return key, node


def _entries(node: yaml.Node) -> list[tuple[str, int, int]]:
    """(name, start, end) of a mapping's rows or a list's items; the end is that of the last thing written."""
    if isinstance(node, yaml.MappingNode):
        return [(key.value, key.start_mark.index, _end(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(str(item.value), item.start_mark.index, _end(item)) for item in node.value]
    return []


def _end(node: yaml.Node) -> int:
    """A block's own end mark lies behind the comments that follow it; the end of its last scalar does not."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _behind(text: str, node: yaml.CollectionNode, entry: tuple[str, int, int], lines: list[str]) -> Edit:
    """New entries behind an old one."""
    if node.flow_style:
        return entry[2], entry[2], "".join(f", {line}" for line in lines)
    start = text.rfind("\n", 0, entry[1]) + 1
    lead = text[start : entry[1]]  # its indentation, and the dash of a list's item
    place, newline = _line_end(text, entry[2]), _newline(text)
    first = "" if text[:place].endswith("\n") else newline
    return place, place, first + "".join(f"{lead}{line}{newline}" for line in lines)


def _fill(text: str, key: yaml.Node, node: yaml.Node, lines: list[str], listed: bool = False) -> str:
    """The first entries of an empty mapping or list: a list on its own line, a mapping one row a line."""
    newline, colon = _newline(text), _colon(text, key)
    end = node.end_mark.index if isinstance(node, yaml.CollectionNode) or node.value else colon
    if listed:
        return text[:colon] + f" [{', '.join(lines)}]" + text[end:]
    indent = " " * (key.start_mark.column + 2)
    place = _line_end(text, end)
    rows = "".join(f"{indent}{line}{newline}" for line in lines)
    first = "" if text[:place].endswith("\n") else newline
    return text[:colon] + text[end:place] + first + rows + text[place:]


def _colon(text: str, key: yaml.Node) -> int:
    return text.index(":", key.end_mark.index) + 1


def _line_end(text: str, start: int) -> int:
    """Where the next line begins."""
    found = text.find("\n", start)
    return len(text) if found < 0 else found + 1


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _flow(value: Any) -> str:
    """One line of YAML; a scalar that needs no quotes has none."""
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
    return re.sub(r"\n\.\.\.\n$", "", dumped).strip()


def _apply(text: str, edits: list[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
