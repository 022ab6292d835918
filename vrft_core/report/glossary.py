"""Words that every report uses, explained for someone who meets them first. A task's panels bring their own."""

from collections.abc import Mapping, Sequence

from vrft_core.report.panel import Panel

TERMS: Mapping[str, str] = {
    "95 % interval": "Where the value would lie on another sample of as many images of the same kind; a method that "
    "makes such intervals is right 95 times of 100. With many intervals on a page, one in twenty misses by chance: "
    "the metric named in the headline decides.",
    "Few-shot, ★": "Trained on a handful of labelled images a category. ★ marks what was trained on.",
    "Reward": "What RFT maximises: a number that rules compute from an answer and the truth, one for each part.",
    "Group": "The answers that RFT samples to one question. They are compared with each other, so a group whose "
    "answers all earn the same teaches nothing.",
    "Drift": "Growth of the reward minus growth of the validation score, each as a share of its first value. Above 0, "
    "the reward rose faster than the score: a sign that the reward is being gamed.",
    "KL": "How far the model's probabilities have moved from those it started with; 0 is not at all.",
    "Entropy": "How undecided the model is about its next token. Near 0 it always writes the same and no longer "
    "explores.",
    "Validation": "Images of their own, on which the checkpoint was chosen. Neither trained on nor evaluated.",
}


def terms(panels: Sequence[Panel]) -> dict[str, str]:
    """The general words, then those of the panels."""
    return {word: meaning for one in (TERMS, *(panel.terms for panel in panels)) for word, meaning in one.items()}
