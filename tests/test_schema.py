"""The JSON schema of params.yaml: current, satisfied by the file that is here, and strict where params are strict."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator
from small_project import ROOT

from vrft_core.commands import schema

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    stored = json.loads(schema.FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(stored)
    return Draft202012Validator(stored)


def test_the_stored_schema_is_what_the_models_say():
    assert schema.FILE.read_text(encoding="utf-8") == schema.text(), "run python -m vrft_core.commands.schema"


def test_params_yaml_names_the_schema_and_satisfies_it(validator):
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema.FILE.relative_to(ROOT)}"
    assert [error.json_path for error in validator.iter_errors(PARAMS)] == []


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        (("recipes", "mini", "rft"), "learningrate", 1.0),  # a key that does not exist
        (("recipes", "mini", "rft"), "num_generations", 1),
        (("recipes", "mini", "tasks", "detection"), "presence", "always"),
        (("recipes", "mini", "tasks"), "counting", {"rewards": {"count": 1.0}}),
        (("resources", "mini", "default"), "memory", "4 GB"),
    ],
)
def test_a_wrong_key_or_value_is_found_where_it_stands(validator, block, key, value):
    changed = json.loads(json.dumps(PARAMS))  # recipes share blocks in YAML: here each has its own
    place = changed
    for name in block:
        place = place[name]
    place[key] = value
    [error] = validator.iter_errors(changed)
    assert ".".join(map(str, error.absolute_path)).startswith(".".join(block))
