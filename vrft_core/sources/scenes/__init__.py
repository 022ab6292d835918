"""The embedded data source: scenes drawn from emoji glyphs on photographs and patterns, exactly annotated.

`scene` draws one, `write` a data set. Data that lies in files belongs to `benchmarks.files`.
"""

from vrft_core.sources.scenes.composition import Object, Scene
from vrft_core.sources.scenes.dataset import ATTRIBUTION, scene, write
from vrft_core.sources.scenes.glyphs import vocabulary

__all__ = ["ATTRIBUTION", "Object", "Scene", "scene", "vocabulary", "write"]
