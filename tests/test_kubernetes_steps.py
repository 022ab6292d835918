"""When a step in a pod of its own counts as lost: answers of API servers, written down."""

import re
from datetime import UTC, datetime

import pytest

from pipelines.executors.kubernetes_steps import how_lost

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEGUN = datetime(2026, 1, 1, 11, tzinfo=UTC)


def a_job(end: str | None = None, reason: str = "") -> dict:
    return {"status": {"conditions": [{"type": end, "status": "True", "reason": reason}] if end else []}}


def a_pod(phase: str, created: str = "10:59", deleted: str | None = None) -> dict:
    metadata = {"creationTimestamp": f"2026-01-01T{created}:00+00:00"}
    if deleted:
        metadata["deletionTimestamp"] = f"2026-01-01T{deleted}:00+00:00"
    return {"metadata": metadata, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("job", "pods", "begun"),
    [
        (a_job(), [], None),  # the pod is not made yet
        (a_job(), [a_pod("Pending")], None),
        (a_job(), [a_pod("Pending", created="11:30")], None),  # its first pod was taken away before it began anything
        (a_job(), [a_pod("Running")], BEGUN),
        (a_job(), [a_pod("Running", deleted="12:01"), a_pod("Pending", created="11:59")], BEGUN),  # it may still report
        (a_job(), [a_pod("Succeeded")], BEGUN),  # the Job itself will say it in a moment
    ],
    ids=["no pod", "waiting", "waiting again", "running", "being evicted", "ending"],
)
def test_a_step_that_may_be_at_work_is_left_alone(job, pods, begun):
    assert how_lost(job, pods, begun, NOW) is None


@pytest.mark.parametrize(
    ("job", "pods", "said"),
    [
        (a_job("Complete"), [a_pod("Succeeded", created="11:30")], "is complete, but its step has reported no end"),
        (a_job("Failed", "DeadlineExceeded"), [], r"is failed \(DeadlineExceeded\), but its step has reported no end"),
        (a_job(), [a_pod("Running", deleted="11:58")], "has a pod that should have ended long ago"),
        (a_job(), [a_pod("Pending", created="11:30")], "has another pod than the one its step was begun in"),
    ],
    ids=["complete", "failed", "node gone", "successor waits"],
)
def test_a_step_that_will_never_report_is_lost(job, pods, said):
    assert re.match(said, how_lost(job, pods, BEGUN, NOW))
