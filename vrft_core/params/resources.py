"""What a stage asks for where it runs as a job. No result depends on it."""

from typing import Annotated

from pydantic import Field

from vrft_core.names import Account, Label, Partitions
from vrft_core.params.common import Natural, Positive, Strict


class Resources(Strict):
    """What a stage asks for where it runs as a job. GPUs, CPUs and memory are those of one node.

    `partition`, `account`, `qos` are Slurm's words; `namespace`, `queue`, `priority` Kubernetes'.
    """

    gpus: Natural = 0
    gpu_type: Label | None = None
    cpus: Positive = 2
    memory: Annotated[str, Field(pattern=r"^[1-9]\d*[MG]$")] = "4G"  # 2^20, 2^30 bytes
    time: Annotated[str, Field(pattern=r"^[1-9]\d*[mhd]$")] = "1h"
    nodes: Positive = 1
    partition: Partitions | None = None
    account: Account | None = None
    qos: Account | None = None
    namespace: Label | None = None
    queue: Label | None = None
    priority: Label | None = None

    @property
    def memory_mb(self) -> int:
        return int(self.memory[:-1]) * {"M": 1, "G": 1024}[self.memory[-1]]

    @property
    def minutes(self) -> int:
        return int(self.time[:-1]) * {"m": 1, "h": 60, "d": 24 * 60}[self.time[-1]]


class RecipeResources(Strict):
    """By stage; what a stage does not say is taken from `default`."""

    default: Resources = Resources()
    policy: Resources = Resources()
    sft: Resources = Resources()
    rft: Resources = Resources()
    base_eval: Resources = Resources()
    sft_eval: Resources = Resources()
    rft_eval: Resources = Resources()

    def of(self, stage: str) -> Resources:
        own = getattr(self, stage, Resources())
        return self.default.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
