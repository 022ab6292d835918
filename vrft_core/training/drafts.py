"""Guesses at how an answer goes on, from earlier answers: to the same question first, then to any.

A guess costs no pass of the model, and nothing depends on it but the number of passes (`drafting`).
"""

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Sequence

import numpy as np

ORDER = 3  # tokens at most that a guess looks back on
BEGIN = -1  # stands in front of an answer
FEW = 1.0  # a context seen this often counts for as much as all shorter ones together
KEPT = 2048  # answers; what is said changes while a policy learns

Context = tuple[Hashable, ...]  # a question (None: any) and the last tokens


class Drafts:
    """What followed the last tokens of earlier answers.

    `tokens` are those ever said, in the order of the columns that `guess` wants its noise in.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.tokens: list[int] = []
        self._columns: dict[int, int] = {}
        self._kept = kept
        self._answers: deque[tuple[Hashable, tuple[int, ...]]] = deque()
        self._counts: defaultdict[Context, Counter[int]] = defaultdict(Counter)
        self._likely: dict[tuple[Hashable, tuple[int, ...]], tuple[np.ndarray, np.ndarray]] = {}

    def add(self, question: Hashable, answer: Sequence[int]) -> None:
        """Remember an answer, and forget the oldest one where there are too many."""
        self._likely.clear()
        for token in answer:
            if token not in self._columns:
                self._columns[token] = len(self.tokens)
                self.tokens.append(token)
        self._answers.append((question, tuple(answer)))
        for context, column in self._seen(question, answer):
            self._counts[context][column] += 1
        if len(self._answers) > self._kept:
            for context, column in self._seen(*self._answers.popleft()):
                counts = self._counts[context]
                counts[column] -= 1
                if not counts[column]:
                    del counts[column]
                if not counts:
                    del self._counts[context]

    def guess(self, question: Hashable, answer: Sequence[int], noise: np.ndarray) -> tuple[int, float] | None:
        """The token that is drawn with `noise` from what followed before, and its probability; None: nothing did.

        noise [tokens]: exponential; the one that the model's own draw divides by, so that both draw the same where
        the distributions are alike.
        """
        before = (BEGIN, *answer[-ORDER:])[-ORDER:]
        columns, shares = self._distribution(question, before)
        if not len(columns):
            return None
        best = (shares / noise[columns]).argmax()
        return self.tokens[columns[best]], float(shares[best])

    def _distribution(self, question: Hashable, before: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Columns and their probabilities: long contexts first, the question's own before those of any question."""
        if (known := self._likely.get((question, before))) is not None:
            return known
        rest, shares = 1.0, defaultdict[int, float](float)
        for length in range(len(before), -1, -1):
            for asked in (question, None):
                counts = self._counts.get((asked, *before[len(before) - length :]))
                if not counts:
                    continue
                total = counts.total()
                share = rest * total / (total + FEW)
                rest -= share
                for column, count in counts.items():
                    shares[column] += share * count / total
        found = np.array(list(shares), dtype=np.int64), np.array(list(shares.values()), dtype=np.float32)
        self._likely[question, before] = found
        return found

    def _seen(self, question: Hashable, answer: Sequence[int]) -> list[tuple[Context, int]]:
        """Each token's column with each of its contexts."""
        whole = (BEGIN, *answer)
        return [
            ((asked, *whole[max(place - length, 0) : place]), self._columns[token])
            for place, token in enumerate(whole)
            if place
            for length in range(min(ORDER, place) + 1)
            for asked in (question, None)
        ]
