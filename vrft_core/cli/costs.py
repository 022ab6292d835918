"""What experiments cost and the room they take, as `vrft status` and `vrft gc` show it on a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vrft_core.commands.texts import size

if TYPE_CHECKING:
    from vrft_core.retention import Old


def cost_text(cost: Mapping | None) -> str:
    """`4.2 CPU min`, or where a GPU was used `1.3 GPU h`; empty where nothing was measured."""
    if not cost:
        return ""
    if cost.get("gpu_seconds"):
        return f"{_time(cost['gpu_seconds'])} GPU"
    return f"{_time(cost['cpu_seconds'])} CPU"


def cost_table(costs: Mapping[str, Mapping]) -> str:
    """A line a stage: time, CPU time and how much of the usable CPUs that is, memory; of GPUs, where they were used."""
    on_gpu = any("gpu_seconds" in cost for cost in costs.values())
    energy = any("gpu_joules" in cost for cost in costs.values())
    head = ["stage", "time", "CPU time", "of the CPUs", "memory"]
    head += ["GPU time", "GPU memory"] if on_gpu else []
    head += ["energy"] if energy else []
    rows = [[*head, ""]]
    for name, cost in costs.items():
        row = [
            name, _time(cost["seconds"]), _time(cost["cpu_seconds"]), f"{100 * cost['cpu_efficiency']:.0f} %",
            size(cost["peak_memory_mb"] * 2**20),
        ]  # fmt: skip
        if on_gpu:
            used = "gpu_seconds" in cost
            row += [_time(cost["gpu_seconds"]), size(cost["gpu_peak_memory_mb"] * 2**20)] if used else ["", ""]
        if energy:
            row += [f"{cost['gpu_joules'] / 3.6e6:.3g} kWh" if "gpu_joules" in cost else ""]
        rows.append([*row, f"{cost['attempts']} attempts" if cost["attempts"] > 1 else ""])
    return aligned(rows)


def disk_table(rows: Sequence[tuple[str, Mapping[str, int]]]) -> str:
    """Keys × kinds of files, with sums."""
    kinds = list(rows[0][1]) if rows else []
    lines = [["", *kinds, "all"]]
    for key, places in rows:
        lines.append([key, *(size(places[kind]) for kind in kinds), size(sum(places.values()))])
    sums = [sum(places[kind] for _, places in rows) for kind in kinds]
    return aligned([*lines, ["all", *map(size, sums), size(sum(sums))]])


def things_table(things: "Sequence[Old]", removed: bool) -> str:
    """What would go or has gone, the largest first, and how much that is."""
    if not things:
        return "Nothing is old and unneeded."
    rows = [[one.kind, one.name, one.why, size(one.bytes)] for one in sorted(things, key=lambda one: -one.bytes)]
    total = size(sum(one.bytes for one in things))
    last = f"Removed: {total}." if removed else f"{total} would go; `vrft gc --yes` removes it."
    return f"{aligned(rows, left=3)}\n{last}"


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns, the first ones to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<"] * left + [">"] * (len(widths) - left)
    lines = [[f"{text:{side}{wide}}" for text, side, wide in zip(row, sides, widths, strict=True)] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _time(seconds: float) -> str:
    """`0.3 s`, `41 s`, `4.2 min`, `1.3 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
