"""The diagnostics section: tables and charts of what the rewards did to the answers. Nothing is computed anew."""

from vrft_core.report import figures
from vrft_core.report.summary import MODEL_NAMES
from vrft_core.report.verdict import points
from vrft_core.tasks.detection.diagnostics import reward_against_ap

SIZES = {"small": "Below 32 × 32 pixels", "medium": "From 32 × 32 to 96 × 96 pixels", "large": "Above 96 × 96 pixels"}
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
    if followed := reward_against_ap(training.get("log", []), training.get("validation", [])):
        found.append(_followed(followed))
    if traps := results.get("adversarial"):
        found.append(_traps(traps))
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
            "Not written exactly as asked; what could be read was used. Each fault that occurred has a line below.",
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
        row("Answers cut off", lambda d: _share(d["cut_off"]), "No end to the list, to the answer or to the thought."),
        row("Answers given more than once", lambda d: _share(d["identical"]), "Word for word, to different questions."),
        row(
            "Near misses",
            lambda d: _share(d["matching"]["starved"]),
            "Of the boxes that touch an object not yet taken, those with an overlap (IoU) of 0.5 or less: a reward "
            "with a gate pays nothing for them, so they teach nothing.",
        ),
    ]
    for size, words in SIZES.items():
        if any(d["matching"]["by_size"][size]["objects"] for d in each.values()):
            rows.append(
                row(
                    f"Overlap with {size} objects",
                    lambda d, s=size: _pair(d["matching"]["by_size"][s]),
                    f"{words}; missed ones count 0. In brackets what is left after the gate at 0.5.",
                )
            )
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
    ]


def _followed(found: dict) -> dict:
    """Table of reward and validation AP at each checkpoint."""
    first, last = found["checkpoints"][0], found["checkpoints"][-1]
    rows = [
        {
            "label": f"Step {one['step']}",
            "cells": [_decimal(one["reward"]), points(one["AP"])],
            "note": "",
        }
        for one in found["checkpoints"]
    ]
    rows += [
        {
            "label": "Change, first to last",
            "cells": [_decimal(last["reward"] - first["reward"]), points(last["AP"] - first["AP"], True)],
            "note": "",
        },
        {
            "label": "Rank correlation",
            "cells": [_decimal(found["spearman"]), ""],
            "note": "1: AP rose whenever the reward did. It rests on as many points as there are checkpoints.",
        },
        {
            "label": "Drift",
            "cells": [_decimal(found["drift"]), ""],
            "note": "Growth of the reward less growth of AP, each as a share of its first value: above 0 the pay rose "
            "faster than the skill.",
        },
    ]
    head = ["", "reward since the checkpoint before", "validation AP (COCO)"]
    return {"caption": "Does AP follow the reward?", "head": head, "rows": rows}


def _traps(found: dict) -> dict:
    """Table of the fixed set of adversarial answers."""
    named = sorted({f"{one['case']} ({one['reward']})" for one in found["mismatches"]})
    rows = [
        {
            "label": "Rewards that are not what they must be",
            "cells": [f"{len(named)}", ""],
            "note": "; ".join(named) or f"All {found['cases']} answers were paid as specified.",
        },
        {
            "label": "Worthless answers paid more than half",
            "cells": [f"{found[key]} of {found['worthless']}" for key in ("strict_overpaid", "published_overpaid")],
            "note": "Answers that find nothing: wrong boxes that share a number with the true one, empty names, "
            "inverted boxes.",
        },
    ]
    head = ["", "rewards used here", "as published"]
    return {"caption": "Answers made to be overpaid", "head": head, "rows": rows}


def _pair(size: dict) -> str:
    return f"{_decimal(size['overlap'])} ({_decimal(size['paid'])})" if size["objects"] else "–"


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
