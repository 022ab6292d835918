"""Did the validation score follow the reward? Read from a training record."""

import numpy as np

from vrft_core.evaluation.statistics import mean, rank_correlation


def reward_against_score(log: list[dict], validation: list[dict]) -> dict | None:
    """From a training record; None with fewer than two checkpoints.

    A checkpoint's reward is the mean over the steps since the one before. → {"checkpoints": [{"step", "reward",
    "score"}], "spearman" (None where one of the two never moves), "drift": what the reward gained from first to last
    checkpoint, as a share of its first value, less what the score gained so; above 0 the pay rose faster than the
    skill}.
    """
    points, before = [], 0
    for row in validation:
        rewards = [step["reward"] for step in log if before < step["step"] <= row["step"] and "reward" in step]
        if rewards and row.get("score") is not None:
            points.append({"step": row["step"], "reward": mean(rewards), "score": row["score"]})
        before = row["step"]
    if len(points) < 2:
        return None
    first, last = points[0], points[-1]
    reward, score = (last[name] / first[name] - 1 if first[name] > 0 else None for name in ("reward", "score"))
    return {
        "checkpoints": points,
        "spearman": rank_correlation(*(np.array([one[name] for one in points]) for name in ("reward", "score"))),
        "drift": None if reward is None or score is None else reward - score,
    }
