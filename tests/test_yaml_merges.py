"""`<<` in params.yaml, as yaml.org/type/merge.html says: a mapping's own value first, then that of the first merged.

PyYAML 6.0.4 takes another one.
"""

from pathlib import Path

import pytest

from vrft_core import yaml_text

TEXT = """
low: &low {KEY: 4}
high: &high {KEY: 16}
own: &own {<<: *low, KEY: 8}
taken: TAKEN
"""


@pytest.mark.parametrize(
    ("taken", "value"),
    [("{<<: *low, KEY: 2}", 2), ("{<<: *own}", 8), ("{<<: [*low, *high]}", 4), ("{<<: [*own, *low]}", 8)],
)
@pytest.mark.parametrize("key", ["r", "rank"])  # all strings of one same letter are one object in CPython
def test_blocks_merged_twice_or_from_a_list_mean_what_yaml_says(key, taken, value):
    text = TEXT.replace("TAKEN", taken).replace("KEY", key)
    assert yaml_text.parse(text, Path("x.yaml"))["taken"] == {key: value}
