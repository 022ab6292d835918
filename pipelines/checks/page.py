"""What the data checks found, as a page to read: every rule with its verdict, the broken ones with values first.

Great Expectations' own pages lie beside it; they need scripts and styles from the network, which are not allowed here.
"""

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from pipelines.checks.validation import Verdict
from vrft_core import io
from vrft_core.report.page import style

NAME = "checks.html"


def write(folder: Path, title: str, verdicts: Mapping[str, Verdict]) -> None:
    io.write_text(folder / NAME, html(title, verdicts))


def html(title: str, verdicts: Mapping[str, Verdict]) -> str:
    broken = sum(not verdict.passed for verdict in verdicts.values())
    said = f"{broken} of {len(verdicts)} checks found something" if broken else f"All {len(verdicts)} checks passed"
    parts = [Markup('<h1>Data of {}</h1><div class="lead {}"><p class="headline">{}</p></div>').format(
        title, "worse" if broken else "better", said
    )]  # fmt: skip
    parts += [_suite(name, verdict) for name, verdict in verdicts.items()]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Data checks</title>'
    return Markup(head + "<style>{}</style><main>{}</main></html>\n").format(style(), Markup("").join(parts))


def _suite(name: str, verdict: Verdict) -> Markup:
    word = "passed" if verdict.passed else "stops everything downstream" if verdict.critical else "a warning"
    head = Markup('<h2>{}: {}</h2><p class="note">{} rows, {} rules.</p>').format(
        name, word, verdict.rows, verdict.expectations
    )
    rows = [Markup('<tr><th scope="row">✗</th><td class="text">{}</td></tr>').format(line) for line in verdict.broken]
    rows += [Markup('<tr><th scope="row">✓</th><td class="text">{}</td></tr>').format(line) for line in verdict.kept]
    return head + Markup('<div class="scroll"><table><tbody>{}</tbody></table></div>').format(Markup("").join(rows))
