"""Plain expectations → Great Expectations suites: frame → expectations. A critical one blocks, another warns.

Importing this module imports great_expectations (seconds): only a check that runs may do so.
"""

from collections.abc import Mapping, Sequence

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation as Checked

from vrft_core.expectations import Expectation

Suites = dict[str, list[Checked]]


def suites(expected: Mapping[str, Sequence[Expectation]]) -> Suites:
    return {frame: [_made(one) for one in each] for frame, each in expected.items()}


def _made(one: Expectation) -> Checked:
    return getattr(gxe, one.kind)(**one.arguments, severity="critical" if one.critical else "warning")
