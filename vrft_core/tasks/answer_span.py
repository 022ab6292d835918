"""Where the answer lies in a completion, and whether its tags are as asked: the same for every task.

What every parser of answers does with any text, in time linear in its length:

* never raises, never evaluates;
* the answer is the first `<answer>` block after the first `</think>`; without a closing tag it runs to the end
  (`answer_not_closed`), without an opening tag it is what follows the thought (`no_answer_tag`); a thought that is
  never closed is no answer (`thought_not_closed`) but for a block in it (`answer_in_thought`); what further tags
  enclose after the first block is not read (`several_answers`);
* only the first MAX_CHARACTERS of an answer are read (`too_long`).

What an answer says belongs to each task's `answers`.
"""

import re

MAX_CHARACTERS = 100_000
CUT_OFF = frozenset({"answer_not_closed", "thought_not_closed", "truncated", "too_long"})  # reasons of answers cut off
_THEN_ANSWER = re.compile(r"</think>\s*+<answer>")


def answer_span(text: str) -> tuple[int, int, list[str]]:
    """Where the answer begins and ends in `text`, and the reasons why its tags are not as asked."""
    reasons = []
    thought_end = text.find("</think>")
    after_thought = thought_end + 8 if thought_end >= 0 else 0
    start = text.find("<answer>", after_thought)
    if thought_end < 0 and "<think>" in (text if start < 0 else text[:start]):
        if start < 0:
            return len(text), len(text), ["thought_not_closed"]
        reasons.append("answer_in_thought")
    if start < 0:
        start, end = after_thought, len(text)
        reasons.append("no_answer_tag")
    else:
        start += 8
        end = text.find("</answer>", start)
        if end < 0:
            end = len(text)
            reasons.append("answer_not_closed")
        elif end + 9 < len(text) and (text.find("<answer>", end) >= 0 or text.find("</answer>", end + 9) >= 0):
            reasons.append("several_answers")
    if end - start > MAX_CHARACTERS:
        end = start + MAX_CHARACTERS
        reasons.append("too_long")
    return start, end, reasons


def has_form(text: str, thinking: bool = True) -> bool:
    """Whether the whole text is `<think>…</think> <answer>…</answer>`, or without thinking `<answer>…</answer>`.

    The same texts as a full match of `<think>.*?</think>\\s*<answer>.*?</answer>` with DOTALL, in linear time.
    """
    if not text.endswith("</answer>"):
        return False
    if not thinking:
        return text.startswith("<answer>") and len(text) >= 17
    if not text.startswith("<think>"):
        return False
    thought_end = text.find("</think>", 7)
    if text.startswith(("\n<answer>", "<answer>", " <answer>"), thought_end + 8):  # the usual forms, without a search
        return thought_end >= 0 and len(text) >= thought_end + 25
    middle = _THEN_ANSWER.search(text, thought_end)
    return middle is not None and middle.end() + 9 <= len(text)
