"""How many embedded scenes are drawn, and written as PNG with their annotation, in one CPU-second.

python bench/scenes.py [--images 1000]
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

from vrft_core.params import Scenes
from vrft_core.sources import scenes
from vrft_core.tasks import load_params


def draw(settings: Scenes, images: int) -> float:
    """CPU-seconds for `images` scenes in memory; the glyphs and photographs are already loaded."""
    start = time.process_time()
    for index in range(images):
        scenes.scene(settings, "pretraining", index)
    return time.process_time() - start


def write(settings: Scenes) -> float:
    """CPU-seconds for a whole data set on disk."""
    with tempfile.TemporaryDirectory() as directory:
        start = time.process_time()
        scenes.write(Path(directory) / "raw", settings)
        return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    args = parser.parse_args()
    settings = load_params(Path(__file__).parents[1] / "params.yaml").benchmarks["lvis"].embedded
    draw(settings, 100)
    total = settings.images.train + settings.images.val + settings.images.eval
    print(f"{platform.machine()}, {settings.image_size} px, benchmark lvis, one process")
    print(f"drawn:   {args.images / draw(settings, args.images):6.0f} images per CPU-second")
    print(
        f"written: {total / write(settings):6.0f} images per CPU-second (PNG, masks, annotation file; {total} images)"
    )


if __name__ == "__main__":
    main()
