"""What the `rewards` of every task do alike: looking a reward up, and giving the published ones their names."""

from collections.abc import Callable, Mapping

from vrft_core.errors import InputError
from vrft_core.tasks import published
from vrft_core.tasks.task import Reward


def published_rewards(task: str) -> dict[str, Reward]:
    """`published/NAME` → the published code's reward, faults included: NaN may come out of it."""
    solution = published.SOLUTIONS[task]

    def bound(function: Callable[[str, str], float]) -> Reward:
        return lambda completion, truth: function(completion.text, solution(truth))

    return {f"published/{name}": bound(function) for name, function in published.REWARDS[task].items()}


def look_up(name: str, rewards: Mapping[str, Reward]) -> Reward:
    """Raises InputError naming the rewards that exist."""
    if name not in rewards:
        raise InputError("rewards", f"no reward {name!r}", f"known: {', '.join(sorted(rewards))}")
    return rewards[name]
