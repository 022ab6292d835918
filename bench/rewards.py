"""How long the rewards take: CPU time a completion, by number of boxes; and the parser on a megabyte of hostile text.

    python bench/rewards.py                          # this project alone
    python bench/rewards.py --peer-root VISUAL_RFT   # beside a checkout of github.com/Liuziyu77/Visual-RFT

Measured: parsing once and the three strict detection rewards (`strict_us`); a whole line of `vrft score`, its JSON
included (`line_us`); the three published ones as restated here, with what math_verify comes to (`published_us`) and
without it (`without_number_us`); and the peer's own functions without math_verify, called for a group of eight as
training calls them (`peer_us`; their code is read from the checkout; nothing of it is imported or stored). `ratio` is
the peer, or without a checkout our restatement without the number, over strict; like the peer's, the restated
functions parse and match each for itself, but they are leaner than the peer's. Where a peer is given, equality with our
published variant is asserted first. The truth is handed over as `vrft score` hands it over, read from the solution.
One thread, best of repeats, CPU microseconds a completion.

Seen in two runs on a busy machine with 2 cores (--repeats 10 --peer-root, with the reward functions of a public copy of
grpo.py; hostile texts at most 12 ms):

boxes                      1     2     3     5    20    100
`strict_us`              8.3  12.7    16    22    87    477
`peer_us` / strict       4.5   4.1   3.9   4.6   7.2   22.6   (lower of the two)
without_number / strict  2.7   2.5   2.4   3.2   6.0   21.1
"""

import argparse
import ast
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vrft_core.commands import score
from vrft_core.tasks import published
from vrft_core.tasks.box_answers import Box
from vrft_core.tasks.classification import answers as classification
from vrft_core.tasks.detection import answers as detection
from vrft_core.tasks.detection import rewards
from vrft_core.tasks.detection.commands import solution as truth_of
from vrft_core.tasks.grounding import answers as grounding

BOXES = (1, 2, 3, 5, 20, 100)
GROUP = 8


def completions(boxes: int, number: int, rng: random.Random) -> list[tuple[str, list[Box], str]]:
    """(text, truth, solution text) of answers that find most objects, roughly, and invent a few."""
    drawn = []
    for _ in range(number):
        truth = []
        for _ in range(boxes):
            x, y = rng.randrange(900), rng.randrange(900)
            truth.append([x, y, x + rng.randrange(20, 100), y + rng.randrange(20, 100)])
        listed = []
        for box in truth:
            if rng.random() < 0.8:
                # an odd number of steps away from the true y1, so that the published shortcut stays out of the timing
                box = [box[0] + rng.randrange(-5, 6), box[1] - 1, box[2] + rng.randrange(-5, 6), box[3] + 3]
            else:
                box = [(v + 311) % 900 for v in box[:2]]
                box += [box[0] + 50, box[1] + 50]
            inside = [min(1000, max(0, v)) for v in box]
            listed.append(f"{{'Position': {inside}, 'Confidence': {rng.randrange(101) / 100}}}")
        text = f"<think>There is one on the left.</think>\n<answer>[{', '.join(listed)}]</answer>"
        solution = published.detection_solution(truth)
        drawn.append((text, truth_of({"solution": solution}, (1000, 1000)), solution))
    return drawn


def strict(text: str, truth: list) -> float:
    completion = rewards.read(text)
    return IOU(completion, truth) + CONFIDENCE(completion, truth) + FORMAT(completion, truth)


def as_published(text: str, solution: str) -> tuple[float, float, float]:
    return published.iou(text, solution), published.confidence(text, solution), published.format(text)


def without_number(text: str, solution: str) -> tuple[float, float, float]:
    return published._matched(text, solution)[0], published._matched(text, solution)[1], published.format(text)


IOU, CONFIDENCE, FORMAT = (rewards.get(name) for name in rewards.SETS["strict"].values())


def peer_functions(root: Path) -> Callable[[list[str], list[str]], list[tuple[float, float, float]]]:
    """The peer's three detection rewards for a group's completions; its symbolic comparison finds nothing equal."""
    path = root / "src/virft/src/open_r1/grpo.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict = {"__name__": "peer", "parse": lambda text: None, "verify": lambda answer, solution: 0.0}
    exec("import json, os, re\nfrom datetime import datetime", names)
    kept = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "main"]
    exec(compile(ast.Module(kept, []), str(path), "exec"), names)

    def three(texts: list[str], solutions: list[str]) -> list[tuple[float, float, float]]:
        wrapped = [[{"content": text}] for text in texts]
        rewarded = (
            names["accuracy_reward_iou"](wrapped, solutions),
            names["accuracy_reward_confidence"](wrapped, solutions),
            names["format_reward"](wrapped),
        )
        return list(zip(*rewarded, strict=True))

    return three


def microseconds(runs: dict[str, tuple[Callable, list]], repeats: int) -> dict[str, float]:
    """Best CPU time a row of each `run(*row)`, passes through the rows taken in turn so that all meet the same load."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, (run, rows) in runs.items():
            start = time.process_time()
            for row in rows:
                run(*row)
            best[name] = min(best[name], (time.process_time() - start) / len(rows) * 1e6)
    return best


def hostile(size: int = 1_000_000) -> dict[str, str]:
    """Texts of about `size` characters that make careless parsers slow or crash."""

    def fill(unit: str) -> str:
        return (unit * (size // len(unit) + 1))[:size]

    item = "{'Position': [1, 2, 30, 40], 'Confidence': 0.5}, "
    return {
        "brackets": fill("["),
        "braces": fill("{"),
        "open positions": fill("{'Position': ["),
        "open numbers": fill("[1,"),
        "digits": fill("9"),
        "one long number": f"<answer>[{{'Position': [{fill('9')}",
        "spaces": f"<answer>[{fill(' ')}",
        "spaces in an item": f"<answer>[{{'Position': [1,{fill(' ')}",
        "quotes": fill("'\""),
        "answer tags": fill("<answer>"),
        "closed answers": fill("<answer></answer>"),
        "thoughts": fill("<think></think>"),
        "thought ends": fill("</think> "),
        "keys": f"<answer>{{{fill('box:[ ')}",
        "confidences": f"<answer>{{'Position': [1, 2, 3, 4], {fill('score:')}}}",
        "points": fill("(1,1),"),
        "points, spaced": fill("(1 , 1 ) ,"),
        "no objects": fill("no "),
        "valid items": f"<answer>[{fill(item)}",
        "equal bare boxes": f"<answer>{fill('[1,2,3,4]')}",
        "dots": fill("."),
        "nulls": fill("\0"),
    }


def measure(boxes: int, peer: Callable | None, log: Path, args: argparse.Namespace) -> dict[str, float]:
    """One row of the table; raises ValueError where the published variant differs from the peer."""
    rows = completions(boxes, max(16, args.completions // boxes), random.Random(boxes))
    texts = [(text, solution) for text, _, solution in rows]
    log.write_text("".join(json.dumps({"completion": t, "solution": s}) + "\n" for t, s in texts))
    runs = {
        "strict_us": (strict, [(text, truth) for text, truth, _ in rows]),
        "published_us": (as_published, texts),
        "without_number_us": (without_number, texts),
    }
    if peer:
        groups = [tuple(zip(*texts[at : at + GROUP], strict=True)) for at in range(0, len(texts), GROUP)]
        for group in groups:
            if [as_published(*one) for one in zip(*group, strict=True)] != peer(*group):
                raise ValueError(f"differs from the peer: {group}")
        runs["peer_us"] = (peer, groups)
    row = microseconds(runs, args.repeats)
    if peer:
        row["peer_us"] *= len(groups) / len(texts)
    whole = {"line_us": (lambda: list(score.score_log(str(log), "detection", "strict")), [()])}
    row["line_us"] = microseconds(whole, args.repeats)["line_us"] / len(texts)
    row["ratio"] = row["peer_us" if peer else "without_number_us"] / row["strict_us"]
    return {"boxes": boxes} | {key: round(value, 2) for key, value in row.items()}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--peer-root", type=Path, help="a checkout of Visual-RFT")
    options.add_argument("--completions", type=int, default=512)
    options.add_argument("--repeats", type=int, default=15)
    args = options.parse_args()
    peer = peer_functions(args.peer_root) if args.peer_root else None
    with tempfile.TemporaryDirectory() as directory:
        table = [measure(boxes, peer, Path(directory) / "log.jsonl", args) for boxes in BOXES]
    parsers = (detection.parse, grounding.parse, classification.parse)
    slowest = {
        name: round(max(microseconds({p.__module__: (p, [(text,)]) for p in parsers}, 3).values()) / 1000, 1)
        for name, text in hostile().items()
    }
    print(json.dumps({"completions": table, "hostile_megabyte_ms": slowest}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
