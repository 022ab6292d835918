"""Saving and loading policies: safetensors only, processors by name, adapters merged for use.

Making weights belongs to `pretraining` and `training`.
"""

from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.policy.device import device
from vrft_core.policy.processor import ImageProcessor, load_processor

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def save(directory: Path, model: PreTrainedModel, processor: ImageProcessor) -> None:
    """Weights, configuration, tokenizer and processor into an existing directory."""
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def load(
    directory: Path, adapter: Path | None = None, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, ImageProcessor]:
    """A policy in evaluation mode, on the GPU where there is one, with its processor.

    A LoRA adapter is merged into the weights. `adapter` may be a folder of full weights as well: whatever training left
    behind. Weights are read as `dtype`, or as those in `directory` are stored. Raises InputError when a folder is
    missing or holds no safetensors.
    """
    if adapter is not None and not is_adapter(adapter):
        dtype = dtype or stored_dtype(directory)
        directory, adapter = adapter, None
    model = cast(Any, load_model(directory, dtype)).to(device())
    if adapter is not None:
        if not (Path(adapter) / ADAPTER_WEIGHTS).is_file():
            raise InputError(adapter, f"no {ADAPTER_WEIGHTS}", "train the model again, or fetch it with dvc pull")
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model.eval(), load_processor(directory)


def load_model(directory: Path, dtype: torch.dtype | None = None, quantization: Any = None) -> PreTrainedModel:
    """The bare model, in the number format it is stored in or `dtype`, or quantized. Raises InputError without one."""
    directory = Path(directory)
    if not (directory / "config.json").is_file() or not any(directory.glob("*.safetensors")):
        raise InputError(directory, "no policy here (config.json and safetensors)", "run the stage `policy` first")
    return AutoModelForImageTextToText.from_pretrained(
        directory,
        dtype=dtype or "auto",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        attn_implementation="sdpa",
        **({"quantization_config": quantization} if quantization else {}),
    )


def stored_dtype(directory: Path) -> torch.dtype | None:
    """The number format of weights, if their configuration names it."""
    config = Path(directory) / "config.json"
    name = io.read_json(config).get("dtype") if config.is_file() else None
    return getattr(torch, name) if name else None


def is_adapter(directory: Path) -> bool:
    return (Path(directory) / ADAPTER_CONFIG).is_file()
