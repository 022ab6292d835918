"""The diagnostics section: tables and charts of what the rewards did to the answers. Nothing is computed anew."""

from vrft_core.report import figures
from vrft_core.report.summary import MODEL_NAMES
from vrft_core.report.verdict import points

EDGE = 0.1  # share of the steps that count as the beginning, and as the end


def tables(results: dict, training: dict) -> list[dict]:
    """Tables {"caption", "head", "rows": [{"label", "cells", "note"}]} of a cell's results and RFT's record."""
    each = results["diagnostics"]
    if not all(each.values()):
        return []
    head = ["", *MODEL_NAMES.values()]
    found = [
        {"caption": "The answers on the evaluation pictures", "head": head, "rows": _answers(each)},
        {"caption": "The confidence they state", "head": head, "rows": _confidence(results)},
    ]
    if rows := _rewards(training.get("log", [])):
        found.append(
            {
                "caption": "RFT's rewards while training",
                "head": ["", "first tenth of the steps", "last tenth"],
                "rows": rows,
            }
        )
    return found


def charts(results: dict, log: list[dict]) -> list[dict]:
    each = results["diagnostics"]
    reliability = figures.reliability(
        {model: each[model]["confidence"]["calibration"]["bins"] for model in MODEL_NAMES if each[model]}
    )
    return ([reliability] if reliability else []) + figures.health(log)


def _answers(each: dict) -> list[dict]:
    def row(label: str, text, note: str = "") -> dict:
        return _row(each, label, text, note)

    rows = [
        row(
            "Answers with a fault of form",
            lambda d: _share(d["answers_with_reasons"]),
            "Not written exactly as asked; what could be read was used. Below, how many answers had each fault.",
        )
    ]
    for reason in sorted({reason for d in each.values() for reason in d["reasons"]}):
        rows.append(row(f"· {reason.replace('_', ' ')}", lambda d, r=reason: f"{d['reasons'].get(r, 0):,}"))
    rows += [
        row(
            "Boxes for each true one",
            lambda d: _decimal(d["boxes"]["inflation"]),
            "Box inflation: above 1 the model names more than there is, below 1 it leaves things out.",
        ),
        row("Boxes repeated exactly", lambda d: _share(d["duplicates"]["exact"]), "The cheapest way to look busy."),
        row("Boxes repeated nearly", lambda d: _share(d["duplicates"]["near"]), "Overlap (IoU) of 0.9 or more."),
        row("Length of an answer, tokens", lambda d: _decimal(d["tokens"], 1)),
    ]
    if any(d["hallucination"] for d in each.values()):
        rows.append(
            row(
                "Invented objects",
                lambda d: _share((d["hallucination"] or {}).get("answers")),
                "Share of questions about something absent that were answered with a box all the same.",
            )
        )
    return rows


def _confidence(results: dict) -> list[dict]:
    each = results["diagnostics"]

    def row(label: str, text, note: str = "") -> dict:
        return _row(each, label, text, note)

    def certain(key: str):
        return lambda d: _share(d["confidence"][key])

    def lost(model: str) -> str:
        best, real = each[model]["oracle_ranking"]["lvis/AP"], results["models"][model]["lvis/AP"]["value"]
        return "–" if best is None or real is None else points(best - real)

    return [
        row("Mean", lambda d: _decimal(d["confidence"]["mean"])),
        row("Exactly 1", certain("one"), "A model that is always certain puts nothing in order."),
        row("Exactly 0", certain("zero")),
        row(
            "Calibration error (ECE)",
            lambda d: _decimal(d["confidence"]["calibration"]["ece"]),
            "Mean gap between the stated confidence and how often it is right; 0 is perfect.",
        ),
        row(
            "Tells right from wrong (AUROC)",
            lambda d: _decimal(d["confidence"]["auroc"]),
            "Chance that a right box is stated surer than a wrong one; 0.5 is a coin toss.",
        ),
        row(
            "Follows the overlap",
            lambda d: _decimal(d["confidence"]["iou_correlation"]),
            "Rank correlation of confidence and overlap with the object: 1 is perfect, 0 is none.",
        ),
        row(
            "LVIS AP with perfect ranking",
            lambda d: points(d["oracle_ranking"]["lvis/AP"]),
            "The same boxes, ranked by how well they fit. Only the truth knows that; it is a ceiling.",
        ),
        {
            "label": "· lost by ranking",
            "cells": [lost(model) for model in MODEL_NAMES],
            "note": "AP points that better confidence alone could win.",
        },
    ]


def _rewards(log: list[dict]) -> list[dict]:
    edge = max(1, round(EDGE * len(log)))
    first, last = log[:edge], log[-edge:]
    rows = [
        {"label": f"Reward: {name}", "cells": [_decimal(_mean(part, key)) for part in (first, last)], "note": ""}
        for name, key in figures.reward_parts(log).items()
    ]
    shares = {"Groups that teach nothing": "frac_reward_zero_std"}
    shares |= {f"· alike in “{name}”": key for name, key in figures.constant_parts(log).items()}
    for label, key in shares.items():
        note = (
            "All answers of a group were paid alike, so there was nothing to prefer."
            if not label.startswith("·")
            else "Groups in which this reward alone told no answer from another."
        )
        if any(key in row for row in log):
            rows.append({"label": label, "cells": [_share(_mean(part, key)) for part in (first, last)], "note": note})
    return rows


def _row(each: dict, label: str, text, note: str = "") -> dict:
    return {"label": label, "cells": [text(each[model]) for model in MODEL_NAMES], "note": note}


def _mean(rows: list[dict], key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else None


def _share(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if 0 < value < 0.0995 or 0.995 <= value < 1 else f"{100 * value:.0f} %"


def _decimal(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")
