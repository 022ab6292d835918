"""Which strings in params.yaml may be names. They become paths, DVC's shell commands and lines of batch scripts.

Types for pydantic, which let nothing through that any of these gives a meaning to. Splitting keys belongs to `cell`.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator


def _words(pattern: str, what: str, longest: int) -> AfterValidator:
    def check(text: str) -> str:
        if len(text) > longest or not re.fullmatch(pattern, text):
            raise ValueError(f"{text[:80]!r} must be {what}, {longest} characters at most")
        return text

    return AfterValidator(check)


_PLAIN = r"[a-z0-9]+(-[a-z0-9]+)*", "lowercase letters, digits and single hyphens"
_SLURM = r"[A-Za-z0-9_][A-Za-z0-9._@+-]*"

Name = Annotated[str, _words(*_PLAIN, 64)]
Key = Annotated[str, _words(*_PLAIN, 160)]
Label = Annotated[str, _words(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", "letters, digits and `._-`", 63)]
Account = Annotated[str, _words(_SLURM, "letters, digits and `._@+-`", 128)]
Partitions = Annotated[str, _words(f"{_SLURM}(,{_SLURM})*", "one name, or several with a comma between", 256)]
Repository = Annotated[str, _words(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", "`owner/name`", 128)]
Frequency = Literal["f", "c", "r"]  # LVIS's letter: how many training images show a category
TaskName = Annotated[str, _words(r"[a-z][a-z0-9_]*", "a module's name: lowercase letters, digits and `_`", 40)]
