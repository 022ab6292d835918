"""The embedded data source: scenes drawn from emoji glyphs on photographs and patterns, exactly annotated.

`scene` draws one, `write` a data set. Data that lies in files belongs to `benchmarks.files`.
"""

from vrft_core.benchmarks.scenes.composition import Object, Scene
from vrft_core.benchmarks.scenes.dataset import scene, write
from vrft_core.benchmarks.scenes.glyphs import vocabulary
from vrft_core.benchmarks.scenes.saving import ATTRIBUTION

__all__ = ["ATTRIBUTION", "Object", "Scene", "scene", "vocabulary", "write"]
