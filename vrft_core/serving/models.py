"""A cell's models in memory, and what they answer about one image. Nothing of HTTP is here."""

from pathlib import Path
from typing import Any

from vrft_core import policy
from vrft_core.cell import Cell, Layout
from vrft_core.commands.predict import Request, cell_on_files_request
from vrft_core.errors import InputError
from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.images import size
from vrft_core.params import Params
from vrft_core.policy.device import autocast, loaded_dtype, prepare

METHODS = ("base", "sft", "rft")
MOST_PIXELS = 25_000_000
MOST_CATEGORIES, LONGEST = 8, 100  # names in one request, letters of a name


class Models:
    """Those of base, SFT and RFT that are made; each is loaded when it is first asked. Not for several threads."""

    def __init__(self, layout: Layout, params: Params, cell: Cell) -> None:
        """Raises InputError where none is made."""
        self.layout, self.params, self.cell = layout, params, cell
        self.names = [name for name in METHODS if layout.model(cell, name).is_dir()]
        if not layout.policy(cell).is_dir():
            raise InputError(layout.policy(cell), "is not there yet", f"make it with `vrft run {cell.key}`")
        self.loaded: dict[str, tuple[Any, Any]] = {}

    def answer(self, image: Path, categories: list[str]) -> list[dict]:
        """What each model says, one dict a model: {"name", "answers": [{"asked", "completion", "marks": [...]}]}.

        `categories` may be empty: the cell's own, as far as they are few. A mark is {"label", "box" (xyxy in pixels, or
        null), "score" (0 to 1, or null)}. Raises InputError for an image that is none or too large, and for too many
        or too long categories.
        """
        self._check(image, categories)
        return [{"name": name, "answers": self._answers(name, image, categories)} for name in self.names]

    def _check(self, image: Path, categories: list[str]) -> None:
        width, height = size(image)
        if width * height > MOST_PIXELS:
            raise InputError("image", f"has {width * height:,} pixels", f"{MOST_PIXELS:,} at most: scale it down")
        if len(categories) > MOST_CATEGORIES:
            raise InputError("categories", f"{len(categories)} names", f"{MOST_CATEGORIES} at most at once")
        if long := [name for name in categories if len(name) > LONGEST]:
            raise InputError("categories", f"{long[0][:20]!r}… is too long", f"{LONGEST} letters at most")

    def _answers(self, name: str, image: Path, categories: list[str]) -> list[dict]:
        request = cell_on_files_request(
            self.layout, self.params, self.cell, name, image, None, categories or self._usual()
        )
        recipe, task = request.recipe, request.task
        prepare(recipe)
        model, processor = self._model(name, request)
        with autocast(recipe):
            rows = predict(
                model, processor, request.examples(None), task, Form.of(recipe),
                batch_size=recipe.evaluation.batch_size, max_new_tokens=recipe.evaluation.max_new_tokens,
            )  # fmt: skip
        names = {i: row["name"] for i, row in request.annotations.categories.items()}
        settings = recipe.tasks[task.name]
        found = []
        for row in rows:
            asked = names.get(row["category_id"], "")
            marks = task.commands.marks({**row, "category": asked}, settings)
            found.append({"asked": asked, "completion": row["completion"], "marks": [mark._asdict() for mark in marks]})
        return found

    def _model(self, name: str, request: Request) -> tuple[Any, Any]:
        if name not in self.loaded:
            self.loaded[name] = policy.load(request.model, request.adapter, loaded_dtype(request.recipe))
        return self.loaded[name]

    def _usual(self) -> list[str] | None:
        """Some of the cell's categories; None: what the request itself takes."""
        named = self.params.benchmark(self.cell).categories
        return list(named)[:MOST_CATEGORIES] if named else None
