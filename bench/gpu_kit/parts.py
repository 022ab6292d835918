"""Everything that parts import, in one place: imported once, for all of them."""

from gpu_kit import asking, cell, environment, parity, steps

__all__ = ["asking", "cell", "environment", "parity", "steps"]
