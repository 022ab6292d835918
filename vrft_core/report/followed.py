"""Did the validation score follow the reward? Read from a training record."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vrft_core.evaluation.statistics import mean, rank_correlation
from vrft_core.report.rows import Followed, FollowedCheckpoint

if TYPE_CHECKING:
    from vrft_core.training.record import Checkpoint, Step


def reward_against_score(log: "Sequence[Step]", validation: "Sequence[Checkpoint]") -> Followed | None:
    """From a training record; None with fewer than two checkpoints.

    A checkpoint's reward is the mean over the steps since the one before. `spearman` is None where one of the two
    never moves. `drift`: what the reward gained from first to last checkpoint, as a share of its first value, less what
    the score gained so; above 0 the reward rose faster than the score.
    """
    points: list[FollowedCheckpoint] = []
    before = 0
    for row in validation:
        rewards = [step["reward"] for step in log if before < step["step"] <= row["step"] and "reward" in step]
        reward, score = mean(rewards), row.get("score")
        if reward is not None and score is not None:
            points.append({"step": row["step"], "reward": reward, "score": score})
        before = row["step"]
    if len(points) < 2:
        return None
    rewards, scores = [one["reward"] for one in points], [one["score"] for one in points]
    reward, score = (each[-1] / each[0] - 1 if each[0] > 0 else None for each in (rewards, scores))
    return {
        "checkpoints": points,
        "spearman": rank_correlation(np.array(rewards), np.array(scores)),
        "drift": None if reward is None or score is None else reward - score,
    }
