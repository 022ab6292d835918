"""The JSON schema of params.yaml, for editors that complete and check it. What the models mean belongs to `params`.

python -m vrft_core.commands.schema      # writes vrft_core/params/params.schema.json

It also copies params.yaml to where `vrft new` takes it from.
"""

import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from vrft_core import io
from vrft_core import params as models
from vrft_core.commands import new
from vrft_core.commands.grid_text import own_benchmarks
from vrft_core.tasks import load_params, settings_models

SAID = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)  # a field with a comment behind it
FILE = Path(models.__file__).with_name("params.schema.json")


def schema() -> dict:
    """JSON schema (draft 2020-12) of params.yaml, with the settings of every task under `recipes.*.tasks`.

    Rules that compare two fields are not in it; `load_params` checks those. Names in it: one definition a model, and
    `TaskSettings` of detection is `detection`.
    """
    found = models.Params.model_json_schema()
    definitions = found["$defs"]
    tasks = {}
    for name, model in settings_models().items():
        own = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{part}": body for part, body in own.pop("$defs", {}).items()}
        definitions[name] = own
        tasks[name] = {"$ref": f"#/$defs/{name}"}
    definitions["Recipe"]["properties"]["tasks"] = {
        "additionalProperties": False,
        "description": "By task: what differs between tasks.",
        "minProperties": 1,
        "properties": tasks,
        "title": "Tasks",
        "type": "object",
    }
    definitions.pop("TaskSettings")
    for model in _models(models.Strict):
        _describe(definitions.get(_name(model), {}), model)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "params.yaml"}


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _name(model: type[BaseModel]) -> str:
    """Of its definition; empty for a model of anything but params.yaml."""
    _, package, *rest = model.__module__.split(".")
    if package == "params":
        return model.__name__
    if package == "tasks":
        return rest[0] if model.__name__ == "Settings" else f"{rest[0]}.{model.__name__}"
    return ""


def _describe(definition: dict, model: type[BaseModel]) -> None:
    """The comment behind a field is what an editor shows of it, with those of the models that it inherits from."""
    for one in reversed(model.__mro__):
        if issubclass(one, models.Strict) and one is not models.Strict:
            for field, said in SAID.findall(inspect.getsource(one)):
                if field in definition.get("properties", {}):
                    definition["properties"][field]["description"] = said


def text() -> str:
    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    io.write_text(FILE, text())
    print(FILE)
    here = new.CODE.parent / "params.yaml"
    if own := own_benchmarks(load_params(here)):
        sys.exit(f"{here}: is not published while it holds data of your own ({', '.join(own)})")
    shutil.copyfile(here, new.PARAMS)
