"""A trained model as MLflow serves it: an image and a question → the answer's text, its boxes and its label.

This file is copied into the registered model as it is and runs there alone: it needs mlflow and transformers (with what
these need: torch, Pillow), and nothing of this project.
"""

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
BOX = re.compile(rf"[\[(]\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*[\])]")
MOST_BOXES = 1000


def answer_of(text: str) -> str:
    """What stands between the answer tags; all of the text where there are none."""
    start, end = text.rfind("<answer>"), text.rfind("</answer>")
    return text[start + 8 : end if end > start else None].strip() if start >= 0 else text.strip()


def boxes_in(text: str, limit: tuple[float, float], size: tuple[int, int]) -> list[list[float]]:
    """Boxes of an answer as xyxy pixels of the image; `limit`: the largest x and y of the answer's frame.

    Boxes that are inverted, empty or outside the frame are left out.
    """
    found = []
    for match in BOX.finditer(text):
        x1, y1, x2, y2 = map(float, match.groups())
        if x1 < x2 <= limit[0] and y1 < y2 <= limit[1] and len(found) < MOST_BOXES:
            scale = (size[0] / limit[0], size[1] / limit[1])
            found.append([x1 * scale[0], y1 * scale[1], x2 * scale[0], y2 * scale[1]])
    return found


class Answering(PythonModel):
    def load_context(self, context: Any) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

        folder = context.artifacts["weights"]
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self.form = json.loads(Path(context.artifacts["form"]).read_text(encoding="utf-8"))
        self.model: Any = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True, **local).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        self.pixels: Any = AutoImageProcessor.from_pretrained(folder, backend="pil", **local)

    def predict(self, context, model_input, params=None):  # MLflow takes type hints for schemas
        """`model_input`: a data frame of `image` (bytes of a PNG or JPEG file) and `question`, as the model was taught.

        → a data frame of `text`, `boxes` (xyxy pixels) and `label` (the answer, where it holds no boxes).
        """
        import pandas as pd

        rows = zip(model_input["image"], model_input["question"], strict=True)
        return pd.DataFrame([self._answer(image, question) for image, question in rows])

    def _answer(self, image: bytes, question: str) -> dict[str, Any]:
        import torch
        from PIL import Image

        picture = Image.open(BytesIO(image)).convert("RGB")
        seen = self.pixels(images=[picture], return_tensors="pt")
        content = [{"type": "image"}, {"type": "text", "text": question}]
        turns = [{"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        tokens = int(seen["image_grid_thw"].prod()) // self.pixels.merge_size**2
        read = self.tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * tokens), return_tensors="pt")
        kinds = (read["input_ids"] == self.model.config.image_token_id).int()
        with torch.inference_mode():
            written = self.model.generate(
                **read, **seen, mm_token_type_ids=kinds, max_new_tokens=self.form["max_new_tokens"], do_sample=False
            )
        said = self.tokenizer.decode(written[0, read["input_ids"].shape[1] :], skip_special_tokens=True)
        answer = answer_of(said)
        boxes = boxes_in(answer, self._limit(seen, picture.size), picture.size)
        return {"text": said, "boxes": boxes, "label": "" if boxes else answer}

    def _limit(self, seen: Any, size: tuple[int, int]) -> tuple[float, float]:
        """The largest x and y of an answer: as the form says, or in pixels of the image, as given or as seen."""
        if isinstance(self.form["coordinates"], list):
            return tuple(self.form["coordinates"])
        if self.form["coordinates"] == "original":
            return size
        _, height, width = (int(value) for value in seen["image_grid_thw"][0])
        return float(width * self.pixels.patch_size), float(height * self.pixels.patch_size)


set_model(Answering())
