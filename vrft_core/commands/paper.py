"""The cells of the paper's tables (arXiv 2503.01785): which benchmark by which recipe, with how many images a category.

`vrft add paper` puts them into the grid; benchmarks and recipes themselves stand in params.yaml. Table 5 (MG) is left
out: its images were never published.
"""

from collections.abc import Iterable

NAME = "paper"
SHOTS = (1, 2, 4, 8, 16)
TABLES: dict[int, list[tuple[str, str, tuple[int, ...]]]] = {
    2: [(name, "qwen2-vl-2b", SHOTS) for name in ("flowers102", "pets37", "aircraft100", "cars196")],
    3: [("coco", "qwen2-vl-2b", SHOTS), ("coco", "qwen2-vl-7b", (4,))],
    4: [("lvis-rare", "qwen2-vl-2b", (10,)), ("lvis-rare", "qwen2-vl-7b", (10,))],
    6: [  # a number of shots that takes all of the 239 training images
        (name, recipe, (239,))
        for name in ("reasonseg-first", "reasonseg-first-val")
        for recipe in ("qwen2-vl-2b-reasonseg", "qwen2-vl-7b-reasonseg")
    ],
    7: [("coco-ovd", recipe, (92,)) for recipe in ("qwen2-vl-2b-ovd", "qwen2-vl-7b-ovd")],  # of 65: 5,980 rows
    8: [("lvis-ovd", recipe, (92,)) for recipe in ("qwen2-vl-2b-ovd", "qwen2-vl-7b-ovd")],
}


def cells(seeds: Iterable[int]) -> list[tuple[str, str, int, int]]:
    """(benchmark, recipe, shots, seed), table by table."""
    seeds = list(seeds)
    return [
        (benchmark, recipe, k, seed)
        for rows in TABLES.values()
        for benchmark, recipe, shots in rows
        for k in shots
        for seed in seeds
    ]
