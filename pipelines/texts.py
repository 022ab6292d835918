"""What Dagster's pages say about an asset: what goes in, what comes out, what a good number is. Words only.

The first line of each description, the command and the graph are dvc.yaml's. What a good result is in a task is in
the task's `checks.GOOD`.
"""

from collections.abc import Sequence
from importlib import import_module

from vrft_core.params import Params
from vrft_core.stages import SCOPES
from vrft_core.tasks import get_task

# stage → (what goes in, what comes out, what is good); `{p}` is the benchmark's prefix in asset names
STAGE_TEXTS = {
    "raw": (
        "the benchmark's source: scenes drawn here, an official download, or a folder of your own",
        "`images/` by split (train, val, eval) and one `annotations.json`, each file with its content hash",
        "every check is green. A red one names the images to look at, and nothing is trained on them",
    ),
    "few_shot": (
        "`{p}_raw`; the number of shots and the seed come from the partition's name",
        "which images are taught from: ids, labels and content hashes. SFT and RFT get the same ones",
        "exactly as many images a category as there are shots, none of them also used for evaluation",
    ),
    "prompts": (
        "`{p}_few_shot` and `{p}_raw`",
        "questions with the answers expected, as Parquet: the few to train on, and those that choose a checkpoint",
        "each expected answer, read back, gives exactly its labels (check `examples`), and no answer that tries to be "
        "overpaid succeeds (check `golden_rewards`)",
    ),
    "policy": (
        "nothing of this experiment: all cells of a recipe start from the same weights",
        "the starting weights, with tokenizer and processor",
        "`{p}_base_eval` finds something. From a model that finds nothing, RFT has nothing to reward",
    ),
    "base_eval": (
        "`{p}_policy` and the evaluation images of `{p}_raw`",
        "its answers (`predictions.jsonl`) and its metrics, each with a 95 % interval",
        "well above 0 and well below 100 points: there is something to build on, and something to gain",
    ),
    "sft": (
        "`{p}_policy` and the training questions of `{p}_prompts`",
        "weights trained on the right answers: what RFT has to beat. The checkpoint is chosen on validation images",
        "the validation score rises, then flattens. If step 0 is the best, the learning rate is too high",
    ),
    "rft": (
        "`{p}_policy` and the same questions that SFT trains on",
        "weights trained by GRPO: the model answers each question several times, and answers that earn more than their "
        "group's mean become likelier. Rollouts lie in `runs/`",
        "reward and validation score rise together. A reward that rises alone is being gamed; where more than 40 % of "
        "the groups are paid alike, they teach nothing (check `zero_variance`)",
    ),
    "sft_eval": (
        "`{p}_sft_model` and the evaluation images of `{p}_raw`",
        "its answers to the same questions as the base model's, and its metrics with 95 % intervals",
        "above `{p}_base_eval` by more than chance: the report's interval of the difference lies above 0",
    ),
    "rft_eval": (
        "`{p}_rft_model` and the evaluation images of `{p}_raw`",
        "its answers to the same questions as the base model's, and its metrics with 95 % intervals",
        "above `{p}_base_eval` and `{p}_sft_eval` by more than chance. Compare the intervals of *differences* in "
        "`{p}_report`: intervals of two models may overlap although one is better",
    ),
    "report": (
        "`{p}_base_eval`, `{p}_sft_eval`, `{p}_rft_eval` and both training records",
        "one page with the verdict, tables, learning curves and example images; the numbers as JSON and Markdown",
        "the interval of *RFT − SFT* lies above 0. One seed shows little: `{p}_study` compares several",
    ),
    "study": (
        "the evaluations of every seed of one number of shots",
        "one page: the differences with intervals that cover images and seeds",
        "the interval of *RFT − SFT* lies above 0: then it worked, and not by luck of the seed",
    ),
    "comparison": (
        "the evaluations of this study and those of the recipe that `comparisons` in params.yaml names beside it",
        "a table: differences between the recipes on the same images, with intervals and the FLOPs of each",
        "an interval that does not include 0 says which recipe is better here; read *gain* too, for bases differ",
    ),
}
OF_NUMBERS = ("base_eval", "sft_eval", "rft_eval")  # where the task says what its deciding number means


def stage_text(prefix: str, task: str, stage: str, first: str, command: str) -> str:
    """Markdown. `first`: the stage's description in dvc.yaml; `command`: with a placeholder for the key."""
    into, out, good = (part.format(p=prefix) for part in STAGE_TEXTS[stage])
    lines = [f"**{first}**", f"- **Goes in:** {into}.", f"- **Comes out:** {out}.", f"- **Good:** {good}."]
    if stage in OF_NUMBERS:
        lines.append(f"- **The number:** {get_task(task).checks.GOOD}")
    return "\n".join([lines[0], "", *lines[1:], "", f"By hand: `{command}`"])


def benchmark_text(params: Params, benchmark: str, partitions: Sequence[str]) -> str:
    """Markdown about a benchmark: its task, its data, its experiments."""
    one = params.benchmarks[benchmark]
    about = (import_module(get_task(one.task).package).__doc__ or one.task).strip()
    origins = {
        "scenes that are drawn here": one.embedded,
        f"the official data `{one.official}`": one.official,
        "your own files": one.folder or one.train,
    }
    given = [text for text, origin in origins.items() if origin]
    data = " or ".join(given) + ("; which of them, a recipe says" if len(given) > 1 else "")
    data += f": {one.folder.format} in `{one.folder.path}`" if one.folder else ""
    return "\n".join(
        [
            f"**Benchmark `{benchmark}`.** {about}",
            "",
            f"- **Data:** {data}.",
            f"- **The number:** {get_task(one.task).checks.GOOD}",
            f"- **Experiments:** {', '.join(f'`{name}`' for name in partitions)}. Each is a partition of the assets "
            "here, named as in params.yaml: recipe, shots, seed.",
            "",
            f"To run one: *Jobs*, `{benchmark.replace('-', '_')}`, *Materialize*, and choose partitions; several are "
            "a backfill. What is up to date by DVC's rules is not run again.",
        ]
    )


assert STAGE_TEXTS.keys() == SCOPES.keys()
