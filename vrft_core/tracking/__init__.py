"""Runs in MLflow: one for each trained model, found again when a stage is tried again. `registry` registers models.

Weights stay with DVC; MLflow holds the record and small files. What is worth recording is decided by the stages.

Where: `MLFLOW_TRACKING_URI`, else `mlflow.db` and `mlartifacts/` in the project root. A store that cannot be reached
stops a stage at its start, with one line, before anything has been spent. Later trouble never does, and never holds a
training up: records wait on disk (`outbox`), one warning is printed, and they are tried again from time to time, at the
end, and by `vrft track --resend`. Where MLflow is not installed nothing is recorded, which one line says.
"""

from vrft_core.tracking.addresses import address
from vrft_core.tracking.nights import log_night
from vrft_core.tracking.record import MODEL, Run, resend
from vrft_core.tracking.sender import DVC_DIGEST, DVC_PATH
from vrft_core.tracking.stages import KEY, log_evaluation, log_report, recorded, run
from vrft_core.tracking.store import experiment, load, open_store, tracking_uri

__all__ = [
    "DVC_DIGEST", "DVC_PATH", "KEY", "MODEL", "Run", "address", "experiment", "load", "log_evaluation",
    "log_night", "log_report", "open_store", "recorded", "resend", "run", "tracking_uri",
]  # fmt: skip
