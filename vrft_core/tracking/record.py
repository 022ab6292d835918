"""What is recorded of one run. Nothing here waits for MLflow: records go through an `outbox`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.locks import say
from vrft_core.outbox import Outbox, waiting
from vrft_core.tracking.addresses import page
from vrft_core.tracking.sender import Sender
from vrft_core.tracking.store import installed, open_store, public, tracking_uri
from vrft_core.tracking.values import flat, is_number, now, points

# beginnings of names: of curves in MLflow, of faults' shares and of scores in a training log
TRAIN, FAULTS, VALIDATION, INTERVAL = "train/", "answers/", "validation/", "interval/"
MODEL = "vrft.model_digest"  # a tag
PAUSE = 30.0  # seconds between attempts while the store is away
PATIENCE = 10.0  # seconds at the end in which nothing goes through


class Run:
    """One MLflow run. Every method may be called again with the same values: nothing is recorded twice.

    No method waits for MLflow: records go through an `Outbox`.
    """

    def __init__(self, client, layout: Layout, run, resumed: bool, name: str, outbox: str | None = None) -> None:
        self.id, self.name, self.experiment = run.info.run_id, name, run.info.experiment_id
        self.address = page(layout, public(tracking_uri(layout)), self.experiment, self.id)
        self._faults: set[str] = set()
        self._layout = layout
        head = {"run": self.id, "name": name, "uri": public(tracking_uri(layout))}
        sender = Sender(client, layout, run)
        self._outbox = Outbox(outboxes(layout), outbox or self.id, head, sender.send, PAUSE)
        self.left_over = self._outbox.left_over
        self.resumed = sender.resumed = resumed or self.left_over > 0

    def metrics(self, values: Mapping[str, object], step: int) -> None:
        """Numbers of one training step, in one request; what is no number is left out, steps already there too.

        Validation scores become points. A fault that answers had before and have no more is 0, and so is one just
        before it is first seen: a curve without these points would look flat.
        """
        numbers = {name: float(v) for name, v in values.items() if is_number(v)}
        faults = {name for name in numbers if name.startswith(FAULTS)}
        if faults:
            if (new := faults - self._faults) and self._faults:
                before = {f"{TRAIN}{name}": 0.0 for name in new}
                self._outbox.put({"do": "metrics", "values": before, "step": step - 1, "time": now()})
            self._faults |= faults
            numbers = dict.fromkeys(self._faults, 0.0) | numbers
        scores = {name: points(v) for name, v in numbers.items() if name.startswith(VALIDATION)}
        numbers = {f"{TRAIN}{name}": v for name, v in numbers.items() if name not in scores} | scores
        self._outbox.put({"do": "metrics", "values": numbers, "step": step, "time": now()})

    def params(self, values: Mapping[str, object]) -> None:
        """Settings, nested ones as `rft.learning_rate`; one that is already recorded stays as it was."""
        self._outbox.put({"do": "params", "values": flat(values)})

    def tag(self, name: str, value: str) -> None:
        self._outbox.put({"do": "tag", "name": name, "value": value})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy one small file to the run. Raises InputError when it is not there."""
        if not Path(path).is_file():
            raise InputError(path, "no such file", "write it before it is recorded")
        self._outbox.put({"do": "artifact", "path": self._relative(path), "folder": folder})

    def table(self, path: Path) -> None:
        """The rollouts (JSON lines) as a file under `rollouts/`."""
        self.artifact(path, "rollouts")

    def dataset(self, name: str, digest: str, path: Path, context: str = "training") -> None:
        """A data set this run read, by its path in the project and DVC's digest; no bytes are copied."""
        where = self._relative(path)
        self._outbox.put({"do": "dataset", "name": name, "digest": digest, "path": where, "context": context})

    def starting_weights(self, digest: str) -> None:
        """The model this training begins with: a tag, and a link where MLflow knows a model of that digest."""
        self.tag("vrft.starting_weights", digest)
        self._outbox.put({"do": "starting_weights", "digest": digest})

    def model(self, name: str, directory: Path, digest: str) -> None:
        """Record the trained model, whose bytes DVC keeps; `digest` is `provenance.directory_digest(directory)`.

        Registering one that can be loaded is `registry`'s.
        """
        self.tag(MODEL, digest)
        record = {"do": "model", "name": name.replace("/", "-"), "path": self._relative(directory), "digest": digest}
        self._outbox.put(record)

    def evaluation(self, metrics: Mapping[str, object], digest: str) -> None:
        """See `log_evaluation`: values in [0, 1], recorded as points.

        `digest` ties the numbers to the model recorded under it, wherever it was trained.
        """
        numbers = {}
        for name, value in metrics.items():
            parts = value if isinstance(value, Mapping) else {"value": value}
            numbers[name] = parts.get("value")
            numbers |= {f"{INTERVAL}{name}/{end}": parts.get(end) for end in ("low", "high")}
        numbers = {name: points(v) for name, v in numbers.items() if is_number(v)}
        self._outbox.put({"do": "evaluation", "values": numbers, "digest": digest, "time": now()})

    def flush(self) -> int:
        """Try to send what waits; how many records still do."""
        return self._outbox.flush(PATIENCE)

    def close(self, status: str | None) -> int:
        """Send what waits and end the run (None leaves it as it is); how many records wait on disk, which is said."""
        if status:
            self._outbox.put({"do": "end", "status": status})
        left = self._outbox.close(PATIENCE)
        if left:
            say(f"{left} records of {self.name} did not reach MLflow; `vrft track --resend` sends them")
        return left

    def _relative(self, path: Path) -> str:
        path, root = Path(path).resolve(), self._layout.root.resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


class Off:
    """In place of a run where MLflow is not installed: takes everything, keeps nothing."""

    resumed, address = False, ""

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("_") or not hasattr(Run, name):
            raise AttributeError(name)
        return lambda *_, **__: 0


def resend(layout: Layout) -> list[str]:
    """Send what earlier processes could not; a line for each run. Raises InputError when MLflow does not answer."""
    if not installed():
        raise InputError("mlflow", "is not installed", "pip install mlflow")
    lines, here = [], public(tracking_uri(layout))
    for path, head in list(waiting(outboxes(layout))):
        if head.get("uri") != here:
            lines.append(f"{path.name}: is for {head.get('uri')}, not for {here}; set MLFLOW_TRACKING_URI and repeat")
            continue
        with open_store(layout) as client:
            found = client.get_run(head["run"])
        record = Run(client, layout, found, True, name=head["name"], outbox=path.stem)
        count, left = record.left_over, record.close(None)
        lines.append(f"{head['name']}: {count - left} of {count} records sent")
    return lines or ["nothing waits to be sent"]


def outboxes(layout: Layout) -> Path:
    return layout.root / "runs/tracking"
