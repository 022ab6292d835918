"""The JSON schema of params.yaml, for editors that complete and check it. What the models mean belongs to `params`.

python -m vrft_core.commands.schema      # writes vrft_core/params/params.schema.json
"""

import json
from pathlib import Path

from vrft_core import io
from vrft_core import params as models
from vrft_core.tasks import settings_models

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
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "params.yaml"}


def text() -> str:
    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    io.write_text(FILE, text())
    print(FILE)
