"""A drawing of matplotlib as SVG that stands in a page: colours follow the page's scheme, text stays text.

matplotlib knows fixed colours alone. It is given placeholders, one for each colour of the page's style sheet, which
become `var(--name)` here. What to draw is decided in `charts`.
"""

import hashlib
import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from vrft_core.report.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("ink", "soft", "line", "paper", "base", "sft", "rft", "s1", "s2", "s3", "s4", "s5", "s6")
COLOURS = {name: f"#0000{number:02x}" for number, name in enumerate(NAMES, 1)}
SIZE = 12  # px of text
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "vrft",
    "font.size": SIZE,
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,  # names may hold dollar signs
    "text.color": COLOURS["soft"],
    "axes.labelcolor": COLOURS["soft"],
    "axes.titlecolor": COLOURS["soft"],
    "axes.titlesize": SIZE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 1,
    "xtick.color": COLOURS["soft"],
    "ytick.color": COLOURS["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "path.simplify": False,
} | {f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_LONG = re.compile(r"-?\d+\.\d{3,}")
_COLOUR = re.compile("|".join(COLOURS.values()))
_VARIABLES = {colour: f"var(--{name})" for name, colour in COLOURS.items()}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KEPT = {"d", "x", "y", "width", "height", "transform", "style", "clip-path", "id", "href", "class"}


@contextmanager
def drawing(width: float, height: float) -> "Iterator[Figure]":
    """An empty drawing of this size in px, in the style of the page."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has other fonts
        yield Figure(figsize=(width / 72, height / 72), dpi=72)


def svg(figure: "Figure", description: str) -> Markup:
    """Call within `drawing`. Marks of artists with a gid `is-NAME` get the class NAME."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = _NO_XML.sub("�", buffer.getvalue())
    root = ET.fromstring(text)
    box = root.attrib["viewBox"]
    prefix = "c" + hashlib.sha256((description + text).encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    inside = "".join(_written(child, prefix, used) for child in root)
    frame = Markup('<svg class="chart" viewBox="{}" role="img" aria-label="{}">').format(box, description)
    return frame + Markup(inside) + Markup("</svg>")


def _written(node: ET.Element, prefix: str, used: set[str]) -> str:
    """An element and what is in it; groups that say nothing are left out."""
    tag = node.tag.removeprefix(_SVG)
    if tag in ("metadata", "style"):
        return ""
    attributes = {name: value for name, value in node.attrib.items() if name in _KEPT}
    if link := node.attrib.get(_LINK):
        attributes["href"] = link
    name = attributes.pop("id", "")
    if name in used:
        attributes["id"] = prefix + name
    if name.startswith("is-"):
        attributes["class"] = name.removeprefix("is-")
    inside = "".join(_written(child, prefix, used) for child in node)
    if tag in ("g", "defs") and not (attributes.keys() - {"class"}) and "class" not in attributes and tag == "g":
        return inside
    if tag == "defs" and not inside:
        return ""
    written = "".join(f' {key}="{escape(_value(key, value, prefix))}"' for key, value in attributes.items())
    text = escape(printable(node.text or "")) if tag == "text" else ""
    return f"<{tag}{written}>{text}{inside}</{tag}>"


def _value(name: str, value: str, prefix: str) -> str:
    if name == "href":
        return value.replace("#", "#" + prefix)
    if name == "clip-path":
        return value.replace("url(#", "url(#" + prefix)
    if name == "style":
        kept = [part for part in value.split("; ") if not part.startswith("font-family")]
        return _COLOUR.sub(lambda found: _VARIABLES[found[0]], "; ".join(kept))
    return _LONG.sub(lambda found: f"{float(found[0]):.2f}", " ".join(value.split()))
