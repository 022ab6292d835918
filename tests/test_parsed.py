"""What DVC is spared: the same values as before, for every caller, and only for as long as a file stays the same."""

import dpath
import pytest
from dvc.exceptions import DvcException
from dvc.utils.serialize import load_path
from dvc.utils.serialize import parse_yaml as plain
from small_project import ROOT

from dagster_dvc import parsed
from dagster_dvc.parsed import Parser, quick_get


def paths(values: dict, above: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found += [f"{above}{name}", *(paths(value, f"{above}{name}.") if isinstance(value, dict) else [])]
    return found


def test_each_text_is_parsed_once_and_each_caller_has_its_own_values():
    seen = []

    def parse(text: str, path: str, typ: str = "safe") -> dict:
        seen.append((text, typ))
        return plain(text, path, typ)

    parser = Parser(parse)
    first = parser("a: {b: [1]}", "one.yaml")
    first["a"]["b"].append(2)
    assert parser("a: {b: [1]}", "one.yaml") == {"a": {"b": [1]}}
    assert parser("a: {b: [3]}", "one.yaml") == {"a": {"b": [3]}}
    assert [text for text, _ in seen] == ["a: {b: [1]}", "a: {b: [3]}"]
    parser("a: 1", "one.yaml", "rt")["a"] = 2
    assert parser("a: 1", "one.yaml", "rt") == {"a": 1}
    for _ in range(2):
        with pytest.raises(DvcException, match=r"one\.yaml.*corrupted"):
            parser("a: [", "one.yaml")


def test_every_parameter_of_ours_is_what_dvc_would_find():
    text = (ROOT / "params.yaml").read_text()
    values, get = plain(text, "params.yaml"), quick_get(dpath.get)
    some = [path for path in paths(values) if path.count(".") < 3]
    assert len(some) > 100
    for path in some[::9]:  # dpath takes a while for each
        assert get(values, path, separator=".") is dpath.get(values, path, separator=".")


@pytest.mark.parametrize("path", ["a.*", "c", "a.b.0", "a.b.c"])
def test_what_is_no_plain_name_is_left_to_dpath(path):
    values = {"a": {"b": [1]}}

    def outcome(get) -> object:
        try:
            return get(values, path, separator=".")
        except KeyError as error:
            return str(error)

    assert outcome(quick_get(dpath.get)) == outcome(dpath.get)


def test_dvc_itself_reads_a_file_that_has_changed(tmp_path):
    from dvc.fs import LocalFileSystem

    for _ in range(2):
        parsed.once()
    path = tmp_path / "params.yaml"
    for number in (1, 2):
        path.write_text(f"a: {number}\n")
        assert load_path(str(path), LocalFileSystem()) == {"a": number}
