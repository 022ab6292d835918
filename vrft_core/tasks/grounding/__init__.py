"""Grounding: which one region an instruction means (or 'No Objects')."""
