"""The embedded data sources: scenes drawn from emoji glyphs on photographs and patterns, exactly annotated.

Three kinds: scenes of several objects, single icons in families of look-alikes, scenes with expressions that refer to
one object. `draw` draws one of any kind, `write` a data set. Data that lies in files belongs to `sources.files`.
"""

from pathlib import Path

from vrft_core.params import Embedded, IconScenes, PhraseScenes
from vrft_core.sources.scenes import dataset, icons, phrases
from vrft_core.sources.scenes.composition import Object, Scene
from vrft_core.sources.scenes.dataset import scene
from vrft_core.sources.scenes.glyphs import vocabulary
from vrft_core.sources.scenes.saving import ATTRIBUTION

__all__ = ["ATTRIBUTION", "Object", "Scene", "scene", "vocabulary", "write"]


def write(directory: Path, settings: Embedded) -> None:
    """Write `images/` and `annotations.json` of train, val and eval into `directory`, replacing it whole.

    Raises InputError for settings no drawing can satisfy.
    """
    if isinstance(settings, IconScenes):
        icons.write(directory, settings)
    elif isinstance(settings, PhraseScenes):
        phrases.write(directory, settings)
    else:
        dataset.write(directory, settings)
