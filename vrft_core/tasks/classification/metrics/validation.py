"""What chooses a checkpoint of classification: strict accuracy on the validation examples."""

import json
from collections.abc import Sequence

from vrft_core.families.form import Form
from vrft_core.tasks.classification.answers import Row, same
from vrft_core.tasks.classification.settings import Settings
from vrft_core.tasks.task import Example

VALIDATION = "accuracy/strict"


def validate(examples: Sequence[Example], rows: Sequence[Row], settings: Settings, form: Form) -> float:
    """In [0, 1]; 0 without examples."""
    names = {one.id: json.loads(one.truth)["names"] for one in examples}
    return sum(same(row["said"], names[row["id"]]) for row in rows) / len(rows) if rows else 0.0
