"""The model that is trained: loading and saving any of them, and the small one that is made here."""

from vrft_core.policy.device import check_transformers

check_transformers()  # before anything of it is imported that an older one lacks

from vrft_core.policy.loading import load, load_model, save  # noqa: E402

__all__ = ["load", "load_model", "save"]
