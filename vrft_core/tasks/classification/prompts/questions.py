"""The texts of a classification question and of the answer expected.

They follow Visual-RFT (arXiv 2503.01785 and the published scripts). Reading what a model really answered belongs to
`answers`.
"""

from collections.abc import Sequence

from vrft_core.tasks.wording import ANSWER_TAGS, THINKING_TAGS, tagged

# What the images show → what the question asks for: the paper's four data sets, and animals.
ASKED = {"plant": "species", "pet": "species", "animal": "species", "aircraft": "model", "car": "model"}
OTHER_SUBJECT, OTHER_KIND = "object", "class"


def question(subject: str | None, classes: Sequence[str] = (), *, thinking: bool) -> str:
    """The question about an image of a `subject`, such as plant, with or without the request to think.

    `classes`: names to choose from, where the question is not an open one. The published question asks for a `species
    name` whatever the subject.
    """
    noun = subject or OTHER_SUBJECT
    article = "an" if noun[0].lower() in "aeiou" else "a"
    name = "species name" if noun in ASKED else f"{OTHER_KIND} name"
    listed = f"It is one of these: {', '.join(classes)}.\n" if classes else ""
    return (
        f"This is an image containing {article} {noun}. "
        f"Please identify the {ASKED.get(noun, OTHER_KIND)} of the {noun} based on the image.\n{listed}"
        f"{THINKING_TAGS if thinking else ANSWER_TAGS}The output answer format should be as follows:\n"
        f"{'<think> ... </think> ' if thinking else ''}<answer>{name}</answer>\n"
        "Please strictly follow the format."
    )


def answer(name: str, *, thinking: bool) -> str:
    """The text a model should produce. Its thought is the shortest true statement: the name."""
    return tagged(name, name if thinking else None)
