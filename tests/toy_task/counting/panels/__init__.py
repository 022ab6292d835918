"""What a report shows of counting alone."""

from pathlib import Path

from vrft_core.report.panel import MODEL_NAMES, MODELS, Inputs, Panel, Table
from vrft_core.report.silence import Silence
from vrft_core.report.text import share

SUBJECT = "few-shot counting"
WORDS = "The share of images whose animals were counted rightly. Higher is better."
SMALL_PRINT = "± 1: the count is off by one at most."


def note(details: dict) -> str:
    """One line for the small print of a summary."""
    return "One question an image."


def how(details: dict) -> list[str]:
    """How it was measured, in sentences."""
    return ["Each model was asked once about each image how many animals it shows."]


def silence(inputs: Inputs, model: str) -> Silence:
    """Answers without a number. Every image can be counted."""
    rows = list(inputs.rows[model].values())
    silent = sum(row["count"] is None for row in rows)
    return Silence("gives no number", len(rows), silent, len(rows), silent)


def cell(results: dict, inputs: Inputs, images: Path) -> list[Panel]:
    """One table; `images` is not used."""
    each = {model: results["details"][model]["by_count"] for model in MODELS}
    rows = [
        {
            "label": f"{count} animals",
            "cells": [f"{found['images']:,}", *(share(each[model][count]["right"]) for model in MODELS)],
            "note": "",
        }
        for count, found in each["base"].items()
    ]
    table = Table("Exact counts", ["Shown", "Images", *MODEL_NAMES.values()], rows)
    return [Panel("counts", "By number of animals", [], [table])]


def plots(results: dict, inputs: Inputs) -> list:
    """None."""
    return []


def study(results: dict) -> list[Panel]:
    """No panel of its own."""
    return []
