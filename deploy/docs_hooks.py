"""What mkdocs does besides rendering: the parameters' tables, links that lead out of docs/, nothing from elsewhere.

The tables come from the JSON schema of params.yaml. mkdocs calls the functions whose names begin with `on_`.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "vrft_core/params/params.schema.json"
PLACE = "<!-- tables of params.yaml -->"
ELSEWHERE = re.compile(r"<(?:script|img|iframe|link rel=.stylesheet.)[^>]*(?:src|href)=.?(https?:)?//[^>]*>")
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    if PLACE in markdown:
        markdown = markdown.replace(PLACE, tables(json.loads(SCHEMA.read_text(encoding="utf-8"))))
    return LINK.sub(lambda found: _inside(found, page.file.src_uri), markdown)


def on_post_page(output: str, page: Any, **_: object) -> str:
    """Raises ValueError where a page would load something from another server."""
    if found := ELSEWHERE.search(output):
        raise ValueError(
            f"{page.file.src_uri}: {found[0]} is loaded from elsewhere; keep a copy in docs/ or leave it out"
        )
    return output


def _inside(found: re.Match, page: str) -> str:
    """A link to a page stays; the README is the site's start; of another file of the project the text is left."""
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), found[2]))
    if target.startswith("docs/"):
        return found[0]
    if target == "README.md":
        return f"[{found[1]}]({posixpath.relpath('index.md', posixpath.dirname(page) or '.')})"
    return found[1]


def tables(schema: dict) -> str:
    """One table a block of params.yaml: key, what it may be, default, meaning."""
    definitions = schema["$defs"]
    parts = [_table("params.yaml", schema, definitions)]
    parts += [_table(name, body, definitions) for name, body in sorted(definitions.items()) if "properties" in body]
    return "\n\n".join(parts)


def _table(name: str, body: dict, definitions: dict) -> str:
    said = body.get("description", "").replace("\n", " ")
    rows = [f"## `{name}`", "", said, "", "| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in body["properties"].items():
        needed = key in body.get("required", ())
        default = "required" if needed else f"`{json.dumps(field['default'])}`" if "default" in field else ""
        meaning = field.get("description", "").replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| `{key}` | {_kind(field)} | {default} | {meaning} |")
    return "\n".join(rows)


def _kind(field: dict) -> str:
    """What a field may be, in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{re.sub(r'[^a-z0-9_-]', '', name.lower())})"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    kind = field.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(field['items'])}"
    if kind == "object" and isinstance(inner := field.get("additionalProperties"), dict):
        return f"name → {_kind(inner)}"
    if kind == "object" and "properties" in field:
        return ", ".join(f"`{key}`: {_kind(inner)}" for key, inner in field["properties"].items())
    words = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "pattern": "matches"}
    limits = [f"{word} `{field[limit]}`".replace("|", "\\|") for limit, word in words.items() if limit in field]
    return ", ".join([kind, *limits])
