"""The model that is trained: loading and saving any of them, and the small one that is made here."""

from vrft_core.policy.loading import load, load_model, save

__all__ = ["load", "load_model", "save"]
