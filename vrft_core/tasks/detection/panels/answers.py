"""Tables of what the answers look like, and of the confidence they state. Nothing is computed here."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from vrft_core.report.panel import MODEL_NAMES, Table
from vrft_core.report.rows import TableRow
from vrft_core.report.text import decimal, share

if TYPE_CHECKING:
    from vrft_core.tasks.detection.diagnostics import Diagnosis, Size

SIZES = {"small": "Below 32 × 32 pixels", "medium": "From 32 × 32 to 96 × 96 pixels", "large": "Above 96 × 96 pixels"}

Text: TypeAlias = "Callable[[Diagnosis], str]"


def tables(each: "Mapping[str, Diagnosis]") -> list[Table]:
    """`each`: model → its diagnostics."""
    head = ["", *MODEL_NAMES.values()]
    return [
        Table("The answers on the evaluation images", head, _answers(each)),
        Table("The confidence they state", head, _confidence(each)),
    ]


def _answers(each: "Mapping[str, Diagnosis]") -> list[TableRow]:
    def row(label: str, text: Text, note: str = "") -> TableRow:
        return _row(each, label, text, note)

    rows = [
        row(
            "Answers in a wrong format",
            lambda d: share(d["answers_with_reasons"]),
            "Not written exactly as asked; what could be read was used. Each fault that occurred is listed below.",
        )
    ]
    for reason in sorted({reason for d in each.values() for reason in d["reasons"]}):
        rows.append(row(f"· {reason.replace('_', ' ')}", lambda d, r=reason: f"{d['reasons'].get(r, 0):,}"))
    rows += [
        row(
            "Boxes for each true one",
            lambda d: decimal(d["boxes"]["inflation"]),
            "Box inflation: above 1 the model predicts more boxes than there are objects, below 1 fewer.",
        ),
        row("Boxes repeated exactly", lambda d: share(d["duplicates"]["exact"]), "The same box twice in one answer."),
        row("Boxes repeated nearly", lambda d: share(d["duplicates"]["near"]), "IoU of 0.9 or more."),
        row("Length of an answer, tokens", lambda d: decimal(d["tokens"], 1)),
        row("Answers cut off", lambda d: share(d["cut_off"]), "No end to the list, to the answer or to the thought."),
        row("Answers given more than once", lambda d: share(d["identical"]), "Word for word, to different questions."),
        row(
            "Near misses",
            lambda d: share(d["matching"]["starved"]),
            "Of the boxes that touch an object not yet taken, those with an IoU of 0.5 or less: a reward "
            "with a gate pays nothing for them, so they teach nothing.",
        ),
    ]
    for size, words in SIZES.items():
        if any(d["matching"]["by_size"][size]["objects"] for d in each.values()):
            rows.append(
                row(
                    f"IoU with {size} objects",
                    lambda d, s=size: _pair(d["matching"]["by_size"][s]),
                    f"{words}; missed ones count 0. In brackets what is left after the gate at 0.5.",
                )
            )
    if any(d["hallucination"] for d in each.values()):
        rows += [
            row(
                "False alarms: absent, yet answered with a box",
                lambda d: share(d["hallucination"] and d["hallucination"]["answers"]),
                "Share of the questions about something absent.",
            ),
            row(
                "Boxes for each such question",
                lambda d: decimal(d["hallucination"] and d["hallucination"]["boxes"]),
            ),
        ]
    return rows


def _confidence(each: "Mapping[str, Diagnosis]") -> list[TableRow]:
    def row(label: str, text: Text, note: str = "") -> TableRow:
        return _row(each, label, text, note)

    def certain(key: Literal["one", "zero"]) -> Text:
        return lambda d: share(d["confidence"][key])

    return [
        row("Mean", lambda d: decimal(d["confidence"]["mean"])),
        row("Exactly 1", certain("one"), "A model that is always certain ranks nothing."),
        row("Exactly 0", certain("zero")),
        row(
            "Calibration error (ECE)",
            lambda d: decimal(d["confidence"]["calibration"]["ece"]),
            "Mean gap between the stated confidence and how often it is right; 0 is perfect.",
        ),
        row(
            "Tells right from wrong (AUROC)",
            lambda d: decimal(d["confidence"]["auroc"]),
            "Chance that a right box is stated surer than a wrong one; 0.5 is a coin toss.",
        ),
        row(
            "Follows the IoU",
            lambda d: decimal(d["confidence"]["iou_correlation"]),
            "Rank correlation of confidence and IoU with the object: 1 is perfect, 0 is none.",
        ),
    ]


def _pair(size: "Size") -> str:
    return f"{decimal(size['overlap'])} ({decimal(size['paid'])})" if size["objects"] else "–"


def _row(each: "Mapping[str, Diagnosis]", label: str, text: Text, note: str = "") -> TableRow:
    return {"label": label, "cells": [text(each[model]) for model in MODEL_NAMES], "note": note}
