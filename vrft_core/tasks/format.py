"""The format reward of every task: tags, and an answer that can be read without repair. No truth is consulted."""

from vrft_core.tasks import native
from vrft_core.tasks.answer_span import has_form
from vrft_core.tasks.completion import Completion


def format(completion: Completion, truth: object = None) -> float:
    """1.0 if the whole completion has the tags asked for and its answer is written as asked, else 0.0.

    Stricter than the published rule, which looks at the tags alone: an empty answer has no form.
    """
    form = native.has_form if completion.native else has_form
    return 1.0 if not completion.parsed.reasons and form(completion.text, completion.thinking) else 0.0
