"""What a Job, its pods and its events say, as one sentence and, where it is over without a result, its cause.

Plain functions of what the API server returned; asking it belongs to `kubernetes`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from pipelines.executors.failures import Cause
from pipelines.executors.jobs import Phase, Status
from pipelines.executors.kubernetes_manifests import amount

SECONDS_TO_VANISH = 60  # after its grace period; a pod that takes longer has lost its node
# A container that will never start as it is described.
BROKEN = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
NOT_STARTED = {"StartError", "ContainerCannotRun"}
NO_SUCH_IMAGE = re.compile(r"not found|denied|unauthorized|manifest unknown|does not exist", re.IGNORECASE)
QUOTA = re.compile(r"exceeded quota: .+?, requested: (?P<asked>.+), used: .+, limited: (?P<most>.+)")
UNKNOWN_YET = "status unknown for quota"  # what a new quota is used for is being counted
OVER_ITS_OWN_LIMIT = re.compile(r"exceeds (the|its) (total )?(limit|local ephemeral)")


def read(job: dict, pods: Sequence[dict], events: Sequence[dict], noted: Sequence[dict], now: datetime) -> Status:
    """`noted`: the rows of `vrft_core.job.attempts`."""
    pods = sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])
    match finished(job):
        case {"type": "Complete"}:
            return Status(Phase.ENDED, "ended well")
        case {"type": "Failed", "reason": reason}:
            return _failed(reason, [pod for pod in pods if pod["status"]["phase"] == "Failed"], noted)
    alive = [pod for pod in pods if not over(pod)]
    if not alive:
        return _without_pods(job, events, ended=bool(pods))
    if lost := [pod for pod in alive if is_lost(pod, now)]:
        if len(lost) == len(alive):
            return Status(Phase.WAITING, f"is lost with its node{_on(lost)}", Cause.MACHINE)
        alive = [pod for pod in alive if pod not in lost]
    waiting = [pod for pod in alive if pod["status"]["phase"] == "Pending"]
    if waiting:
        return _pending(waiting)
    starts = sum(row["event"] == "start" for row in noted)
    again = f", start {starts}: its pod was taken away" if starts > 1 and len(alive) == 1 else ""
    return Status(Phase.RUNNING, f"is running{_on(alive)}{again}")


def finished(job: dict) -> dict | None:
    """The condition that ended a Job; None while it has not ended."""
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return {"reason": "", **condition}
    return None


def over(pod: dict) -> bool:
    """Whether a pod has ended, and lets go of what it was given."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def without_job(noted: Sequence[dict]) -> Status:
    """Of a Job that is no longer there: deleted, or cleared away after its time."""
    if noted and noted[-1]["event"] == "end":
        code = noted[-1]["status"]
        return Status(Phase.ENDED, f"noted its end with status {code}", Cause.OWN if code else None)
    return _end(Cause.CANCELLED, "was deleted")


def _failed(reason: str, pods: Sequence[dict], noted: Sequence[dict]) -> Status:
    """From the pod that ended first: on several nodes the others fall with it."""
    pods = sorted(pods, key=lambda pod: _terminated(pod).get("finishedAt") or "9")
    if reason == "DeadlineExceeded":
        return _end(Cause.TIME, "reached its time limit")
    if not pods:
        return _end(Cause.MACHINE, "lost its pod")
    pod, container = pods[0], _terminated(pods[0])
    why, message = pod["status"].get("reason", ""), pod["status"].get("message", "")
    disrupted = [c for c in pod["status"].get("conditions", []) if c["type"] == "DisruptionTarget"]
    if container.get("reason") == "OOMKilled":
        return _end(Cause.MEMORY, f"was killed, out of memory (OOMKilled){_on([pod])}")
    if why == "DeadlineExceeded":
        return _end(Cause.TIME, f"reached its time limit{_on([pod])}")
    if OVER_ITS_OWN_LIMIT.search(message):
        return _end(Cause.OWN, f"was evicted{_on([pod])}: {message}")
    if disrupted:
        return _end(Cause.MACHINE, f"was taken away{_on([pod])}: {disrupted[0].get('message') or why}")
    if why or container.get("reason") == "ContainerStatusUnknown":
        return _end(Cause.MACHINE, f"was taken away{_on([pod])}: {why or container['reason']}: {message}")
    if container.get("reason") in NOT_STARTED:
        return _end(Cause.REFUSED, f"cannot start{_on([pod])}: {container.get('message', '')}")
    if noted and noted[-1].get("warned"):
        return _end(Cause.MACHINE, f"was told to end ({noted[-1]['warned']}){_on([pod])}")
    return _end(Cause.OWN, f"ended with status {container.get('exitCode')}{_on([pod])}")


def _without_pods(job: dict, events: Sequence[dict], ended: bool) -> Status:
    """Of a Job whose pod is not yet made, or has `ended`, which the Job itself will say in a moment."""
    if job["spec"].get("suspend"):
        return Status(Phase.WAITING, "waits in its queue (suspended)")
    refusals = [event for event in events if event["reason"] == "FailedCreate"]
    if not refusals:
        return Status(Phase.RUNNING, "is ending") if ended else Status(Phase.WAITING, "waits for its pod")
    message = max(refusals, key=lambda event: event.get("lastTimestamp") or "")["message"]
    # Each try has a pod of another name; the same sentence is said once.
    message = re.sub(r'^Error creating: (pods ".*?" is )?', "", message)
    quota = QUOTA.search(message)
    passes = UNKNOWN_YET in message or (quota and not _beyond(quota))
    if "forbidden" in message and not passes:
        return Status(Phase.WAITING, f"gets no pod: {message}", Cause.REFUSED)
    return Status(Phase.WAITING, f"waits for its pod: {message}")


def _beyond(quota: re.Match) -> bool:
    """Whether a quota is smaller than the request alone, so that waiting for others would not help."""
    asked, most = (dict(pair.split("=") for pair in quota[name].split(",")) for name in ("asked", "most"))
    return any(amount(asked[name]) > amount(most[name]) for name in most.keys() & asked.keys())


def _pending(pods: Sequence[dict]) -> Status:
    for pod in pods:
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return Status(Phase.WAITING, f"waits: {condition.get('message', '').rstrip('.')}")
        for container in pod["status"].get("containerStatuses", []):
            state = container["state"].get("waiting", {})
            why, message = state.get("reason", ""), state.get("message", "")
            if why in BROKEN or (why in ("ErrImagePull", "ImagePullBackOff") and NO_SUCH_IMAGE.search(message)):
                return Status(Phase.WAITING, f"cannot start{_on([pod])}: {why}: {message}", Cause.REFUSED)
            if message:
                return Status(Phase.WAITING, f"is starting{_on([pod])}: {why}: {message}")
    return Status(Phase.WAITING, f"is starting{_on(pods)}")


def is_lost(pod: dict, now: datetime) -> bool:
    """Whether a pod should have been gone for long (its deletion time includes its grace period)."""
    due = pod["metadata"].get("deletionTimestamp")
    return bool(due) and (now - datetime.fromisoformat(due).astimezone(UTC)).total_seconds() > SECONDS_TO_VANISH


def _terminated(pod: dict) -> dict:
    found = [status["state"].get("terminated") for status in pod["status"].get("containerStatuses", [])]
    return next((state for state in found if state), {})


def _on(pods: Sequence[dict]) -> str:
    names = sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")})
    return f" on {', '.join(names)}" if names else ""


def _end(cause: Cause, text: str) -> Status:
    return Status(Phase.ENDED, " ".join(text.split()), cause)
