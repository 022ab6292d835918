"""What the rewards did while RFT trained: whether answers became better, or only their rewards. For every task."""

from typing import TYPE_CHECKING

from vrft_core.report import figures
from vrft_core.report.followed import reward_against_score
from vrft_core.report.panel import Panel, Table
from vrft_core.report.rows import CellResults, Followed, FollowedCheckpoint, TableRow
from vrft_core.report.text import decimal, share
from vrft_core.report.verdict import points

if TYPE_CHECKING:
    from vrft_core.evaluation.adversarial import Rescored
    from vrft_core.training.record import Description, Step

EDGE = 0.1  # share of the steps that count as the beginning, and as the end


def panel(results: CellResults, training: "Description") -> Panel:
    """`training`: RFT's record."""
    log = training.get("log", [])
    tables = []
    if rows := _rewards(log):
        tables.append(Table("RFT's rewards while training", ["", "first tenth of the steps", "last tenth"], rows))
    if followed := reward_against_score(log, training.get("validation", [])):
        tables.append(_followed(followed, training.get("validation_metric", "score")))
    if traps := results.get("adversarial"):
        tables.append(_traps(traps))
    text = ["A reward can be gamed. These figures show whether answers became better, or only their rewards."]
    return Panel("rewards", "What the rewards did", text, tables, figures.health(log))


def _followed(found: Followed, metric: str) -> Table:
    """Table of reward and the validation score at each checkpoint."""
    first, last = found["checkpoints"][0], found["checkpoints"][-1]
    rows: list[TableRow] = [
        {
            "label": f"Step {one['step']}",
            "cells": [decimal(one["reward"]), points(one["score"])],
            "note": "",
        }
        for one in found["checkpoints"]
    ]
    rows += _conclusions(found, first, last)
    head = ["", "reward since the checkpoint before", f"validation {metric}"]
    return Table("Does the validation score follow the reward?", head, rows)


def _conclusions(found: Followed, first: FollowedCheckpoint, last: FollowedCheckpoint) -> list[TableRow]:
    return [
        {
            "label": "Change, first to last",
            "cells": [decimal(last["reward"] - first["reward"]), points(last["score"] - first["score"], True)],
            "note": "",
        },
        {
            "label": "Rank correlation",
            "cells": [decimal(found["spearman"]), ""],
            "note": "1: the score rose whenever the reward did. One point a checkpoint.",
        },
        {
            "label": "Drift",
            "cells": [decimal(found["drift"]), ""],
            "note": "Growth of the reward minus growth of the score, each as a share of its first value. Above 0 the "
            "reward rose faster than the score: a sign that the reward is being gamed.",
        },
    ]


def _traps(found: "Rescored") -> Table:
    """Table of the fixed set of adversarial answers."""
    overpaid = (found["strict_overpaid"], found["published_overpaid"])
    named = sorted({f"{one['case']} ({one['reward']})" for one in found["mismatches"]})
    rows: list[TableRow] = [
        {
            "label": "Rewards that differ from their specification",
            "cells": [f"{len(named)}", ""],
            "note": "; ".join(named) or f"All {found['cases']} answers were rewarded as specified.",
        },
        {
            "label": "Worthless answers with more than half the reward",
            "cells": [f"{count} of {found['worthless']}" for count in overpaid],
            "note": "Answers that find nothing: wrong boxes that share a number with the true one, empty names, "
            "inverted boxes, and the like.",
        },
    ]
    head = ["", "rewards used here", "as published"]
    return Table("Adversarial answers", head, rows)


def _rewards(log: "list[Step]") -> list[TableRow]:
    edge = max(1, round(EDGE * len(log)))
    first, last = log[:edge], log[-edge:]
    rows: list[TableRow] = [
        {"label": f"Reward: {name}", "cells": [decimal(_mean(part, key)) for part in (first, last)], "note": ""}
        for name, key in figures.reward_parts(log).items()
    ]
    shares = {"Groups that teach nothing": "frac_reward_zero_std"}
    shares |= {f"· equal in “{name}”": key for name, key in figures.constant_parts(log).items()}
    for label, key in shares.items():
        note = (
            "All answers of a group had the same reward, so none was preferred."
            if not label.startswith("·")
            else "Groups in which this reward was the same for all answers."
        )
        if any(key in row for row in log):
            rows.append({"label": label, "cells": [share(_mean(part, key)) for part in (first, last)], "note": note})
    return rows


def _mean(rows: "list[Step]", key: str) -> float | None:
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else None
