"""How large everything is: as a GPU of 80 GB takes it in minutes, and as a CPU takes it in seconds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """`steps` are timed ones at most, after one that warms up; `groups` questions a step with `group` answers each."""

    toy: bool = False
    steps: int = 2
    group: int = 8
    groups: int = 2
    tokens: int = 128  # of each answer
    width: int = 640
    height: int = 480
    images: int = 24  # of prediction, five questions each
    batch: int = 32
    few: int = 5  # questions asked one at a time
    rank: int = 64  # LoRA's


TOY = Settings(toy=True, steps=1, group=2, groups=1, tokens=4, width=84, height=56, images=2, batch=8, few=2, rank=2)
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class Rows:
    """Results as they come, one JSON line each, so that what was found survives the process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, **row: object) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")


def described(settings: Settings) -> dict:
    return asdict(settings)
