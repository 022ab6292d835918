"""All that was measured, as one page of Markdown."""

from collections.abc import Iterable

PHASES = ("generation", "log-probs, no gradient", "policy, forward", "backward")


def markdown(found: dict) -> str:
    rows = [row for part in found["parts"].values() for row in part["rows"]]
    machine = next((row for row in rows if row["part"] == "environment"), {})
    lines = [
        f"# {machine.get('gpu') or 'No GPU'}" + (" (toy size: the numbers mean nothing)" if found["toy"] else ""),
        "",
    ]
    if machine:
        packages = ", ".join(f"{name} {machine['packages'][name]}" for name in ("transformers", "trl", "peft")
                             if name in machine["packages"])  # fmt: skip
        sizes = machine["settings"]
        lines += [
            f"Python {machine['python']}, torch {machine['torch']}, {packages}; {machine['processor']}. Seconds are "
            f"{machine['seconds_are']} seconds. A step: {sizes['groups']} questions, {sizes['group']} answers each of "
            f"{sizes['tokens']} tokens, images of {sizes['width']} × {sizes['height']}, LoRA r {sizes['rank']}, "
            "bfloat16.",
            "",
        ]
    for title, made in (("A GRPO step", _steps), ("Log-probabilities, differences in nats", _parity),
                        ("Prediction", _prediction), ("A whole cell of `mini`", _mini)):  # fmt: skip
        table = made(rows)
        lines += [f"## {title}", "", *table, ""] if table else []
    lines += ["## Parts", "", *_table(["part", "state", "wall s"], _parts(found)), ""]
    return "\n".join(lines)


def _table(head: list[str], body: Iterable[list[object]]) -> list[str]:
    body = [[_shown(cell) for cell in row] for row in body]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)] if body else []


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "" if value is None else str(value).replace("|", "/").replace("\n", " ")


def _parts(found: dict) -> list[list[object]]:
    return [[name, part["state"], part.get("wall_s")] for name, part in found["parts"].items()]


def _steps(rows: list[dict]) -> list[str]:
    steps = [row for row in rows if row["part"] == "grpo"]
    default = {
        row["model"]: row["seconds"]["step"] for row in steps if row["variant"].endswith("default") and "seconds" in row
    }
    head = [
        "model",
        "variant",
        "s a step",
        "× default",
        *PHASES,
        "tokens a second",
        "peak GiB",
        "planned GiB",
        "planned s",
    ]
    body = []
    for row in steps:
        if "failed" in row:
            body.append([row["model"], row["variant"], row["failed"], *[None] * (len(head) - 3)])
            continue
        seconds, plan = row["seconds"], row["plan"]
        faster = default[row["model"]] / seconds["step"] if row["model"] in default else None
        body.append([row["model"], row["variant"], seconds["step"], faster, *(seconds.get(name) for name in PHASES),
                     row["tokens_a_second"], row["peak_gib"], plan["peak_gib"], plan["seconds"]])  # fmt: skip
    return _table(head, body)


def _parity(rows: list[dict]) -> list[str]:
    head = ["model", "bf16, largest", "mean", "fp32, largest", "mean", "rounding to bf16, largest", "mean"]
    names = ("bf16_largest", "bf16_mean", "fp32_largest", "fp32_mean", "rounding_largest", "rounding_mean")
    return _table(head, ([row["model"], *(row[name] for name in names)] for row in rows if row["part"] == "parity"))


def _prediction(rows: list[dict]) -> list[str]:
    head = ["model", "questions", "s a question, ours", "published", "ratio", "equal answers", "peak GiB"]
    return _table(
        head,
        (
            [row["model"], row["questions"], row["seconds_a_question"]["ours"], row["seconds_a_question"]["published"],
             row["ratio"], f"{row['equal']} of {row['compared']}", row["peak_gib"]]
            for row in rows if row["part"] == "prediction"
        ),
    )  # fmt: skip


def _mini(rows: list[dict]) -> list[str]:
    body = []
    for row in rows:
        if row["part"] != "mini":
            continue
        numbers, cpu = row["numbers"], row["cpu"] or {}
        main = next((name for name in numbers if "/AP" in name), None)
        own = cpu.get(main) if main else None
        beside = f"{own['value']:.3f} [{own['low']:.3f}, {own['high']:.3f}]" if own else None
        body.append([row["stage"], row["wall_s"], row["peak_gib"], main, numbers.get(main) if main else None, beside])
    return _table(["stage", "wall s", "peak GiB", "metric", "here", "on a CPU, with its interval"], body)
