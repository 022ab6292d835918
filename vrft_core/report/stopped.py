"""Which checkpoint of a training is compared, and what is said of one that a guard ended. Sentences only."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vrft_core.report.verdict import NAMES

if TYPE_CHECKING:
    from vrft_core.training.record import Description


def candidates(record: "Description") -> dict[int, float | None]:
    """Step → validation score of the checkpoints that were chosen among.

    The untrained policy is none of them, nor the weights at which a guard ended the training, where there are others.
    """
    trained = {row["step"]: row["score"] for row in record.get("validation", []) if row["step"] > 0}
    stopped = record.get("stopped")
    before = {step: score for step, score in trained.items() if not stopped or step < stopped["step"]}
    return before or trained


def standing(record: "Description") -> str:
    """What the chosen checkpoint is among those: best, only, or the earliest of several that all score alike."""
    scores = candidates(record)
    if len(scores) < 2:
        return "only"
    return "earliest" if len(set(scores.values())) == 1 else "best"


def stops(training: "Mapping[int, Mapping[str, Description]]") -> list[str]:
    """A sentence on each method whose training a guard ended. `training`: seed → method → its record.

    For example: RFT was stopped at step 31 (kl is 5.2, above 5); its best checkpoint, of step 15, is compared here.
    """
    found = []
    for method in dict.fromkeys(method for records in training.values() for method in records):
        ended = {
            seed: (records[method], stopped)
            for seed, records in training.items()
            if method in records and (stopped := records[method].get("stopped"))
        }
        if not ended:
            continue
        if len(training) == 1:
            [(record, stopped)] = ended.values()
            found.append(
                f"{NAMES[method]} was stopped at step {stopped['step']} ({stopped['limit']}); {_kept(record)} compared "
                "here."
            )
            continue
        each = [
            f"seed {seed} at step {stopped['step']} ({stopped['limit']}; compared here: step {record['chosen_step']})"
            for seed, (record, stopped) in ended.items()
        ]
        found.append(f"{NAMES[method]} was stopped in {len(ended)} of {len(training)} seeds: {', '.join(each)}.")
    return found


def _kept(record: "Description") -> str:
    step, stopped = record["chosen_step"], record.get("stopped")
    if stopped and step >= stopped["step"]:
        return "the weights it had there are"
    return {
        "best": f"its best checkpoint, of step {step}, is",
        "earliest": f"the earliest of its equally good checkpoints, of step {step}, is",
        "only": f"its only checkpoint, of step {step}, is",
    }[standing(record)]
