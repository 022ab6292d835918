"""What is sent to Kubernetes: a stage's Job, made from the user's template.

Plain functions from values to a manifest. Talking to the cluster belongs to `kubernetes`.
"""

import copy
import re

from pipelines.executors.jobs import Job, refuse_unwritable
from vrft_core.errors import InputError
from vrft_core.params import Resources

GPU = "nvidia.com/gpu"
GPU_TYPE = "nvidia.com/gpu.product"  # the node label that NVIDIA's GPU feature discovery sets
JOB, ID = "vrft/job", "vrft/id"
PART_OF = {"app.kubernetes.io/name": "vrft", "app.kubernetes.io/component": "stage"}
QUEUE = "kueue.x-k8s.io/queue-name"
SERVICE, PORT = "vrft", 29500  # deploy/kubernetes/service.yaml: gives the pods of a stage on several nodes their names
# The log goes to shared storage, where it outlives the pod; a copy of it to the pod's own, for `kubectl logs`.
# Older servers replace a pod while it is still ending: the lock lets its successor wait for its last checkpoint.
START = """\
folder=$1; shift
node=${JOB_COMPLETION_INDEX:-0}
exec 9>>"$folder/../lock-$node" && { flock 9 || echo "no file locks on this storage" >&2; }
if [ -n "$JOB_COMPLETION_INDEX" ]; then export VRFT_ACCELERATE="$VRFT_ACCELERATE --machine_rank $node"; fi
if [ "$node" != 0 ]; then folder=$folder/node-$node; mkdir -p "$folder"; fi
touch "$folder/log.txt" && { tail -n 0 -f "$folder/log.txt" 9>&- & }
exec python -m vrft_core.job "$folder" "$@" >>"$folder/log.txt" 2>&1
"""


def job_id(job: Job) -> str:
    """The Job's own name: that of the work, and the number of the try. Pods' names add eleven to its 52 letters."""
    readable, _, digest = job.name.rpartition("-")
    return f"{readable[:27].rstrip('-')}-{digest}-{job.folder.name}"[:52].rstrip("-").lower()


def job_manifest(template: dict, job: Job, version: tuple[int, int]) -> dict:
    """The template with what the stage needs filled in, for a server of this version.

    Raises InputError where the template has no container, or the server is too old for several nodes, and Refused where
    a name holds a control character.
    """
    refuse_unwritable(job)
    manifest, needs = copy.deepcopy(template), job.resources
    labels = {
        **PART_OF,
        JOB: job.name,
        ID: job_id(job),
        **{f"vrft/{name}": _label(value) for name, value in job.labels.items()},
    }
    meta, spec = manifest.setdefault("metadata", {}), manifest["spec"]
    meta["name"] = job_id(job)
    meta["labels"] = {**meta.get("labels", {}), **labels, **({QUEUE: needs.queue} if needs.queue else {})}
    if needs.namespace:
        meta["namespace"] = needs.namespace
    pod = spec["template"].setdefault("spec", {})
    own = spec["template"].setdefault("metadata", {})
    own["labels"] = {**own.get("labels", {}), **labels}
    pod["restartPolicy"] = "Never"
    pod["activeDeadlineSeconds"] = needs.minutes * 60  # of the pod, not of the Job: waiting does not count
    if needs.priority:
        pod["priorityClassName"] = needs.priority
    if needs.gpu_type:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), GPU_TYPE: needs.gpu_type}
    if not pod.get("containers"):
        raise InputError("the template of its Job", "spec.template.spec.containers is missing")
    _fill(pod["containers"][0], job)
    spec["backoffLimit"] = 0  # whether to try again is decided where the reason is known
    if needs.nodes > 1 and job.processes > 1:
        if version < (1, 24):
            raise InputError("nodes", f"this Kubernetes {version[0]}.{version[1]} has no indexed Jobs", "1.24 has them")
        spec |= {"completionMode": "Indexed", "completions": needs.nodes, "parallelism": needs.nodes}
        pod["subdomain"] = SERVICE
    elif version >= (1, 26):  # a pod that is evicted or preempted is replaced even while nobody watches
        ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        spec["podFailurePolicy"] = {"rules": [ignore]}
    return manifest


def quantities(needs: Resources) -> dict[str, str]:
    """One pod's requests."""
    asked = {"cpu": str(needs.cpus), "memory": f"{needs.memory}i"}
    return asked | ({GPU: str(needs.gpus)} if needs.gpus else {})


def amount(quantity: str) -> float:
    """A quantity of Kubernetes in units or bytes: `500m` → 0.5, `4Gi` → 4294967296."""
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", quantity)
    assert found, f"no quantity of Kubernetes: {quantity!r}"
    number, suffix = found.groups()
    if suffix.endswith("i"):
        return float(number) * 1024 ** (" KMGTPE".index(suffix[0]))
    return float(number) * {"m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}[suffix]


def _fill(container: dict, job: Job) -> None:
    container["command"] = ["sh", "-c", START, "vrft", str(job.folder), *job.command]
    container["workingDir"] = str(job.root)
    # The project's own code, whatever version the image was built with: it is what DVC records.
    ours = {"PYTHONPATH": str(job.root), "PYTHONUNBUFFERED": "1", **job.environment, **_accelerate(job)}
    theirs = [entry for entry in container.get("env", []) if entry["name"] not in ours]
    container["env"] = [*theirs, *({"name": name, "value": value} for name, value in ours.items())]
    asked = quantities(job.resources)
    given = container.get("resources", {})
    container["resources"] = {
        "requests": {**given.get("requests", {}), **asked},
        "limits": {**given.get("limits", {}), **{name: value for name, value in asked.items() if name != "cpu"}},
    }


def _accelerate(job: Job) -> dict[str, str]:
    """What has a training start its processes. Rank 0 is found by its pod's name; START adds the pod's own rank."""
    if job.processes == 1:
        return {}
    told = f"--num_machines {job.resources.nodes} --num_processes {job.processes}"
    if job.resources.nodes > 1:
        told += f" --main_process_ip {job_id(job)}-0.{SERVICE} --main_process_port {PORT} --rdzv_backend static"
    return {"VRFT_ACCELERATE": f"{job.accelerate} {told}"}


def _label(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", value)[:63].strip("-_.")
