"""What is sent to Kubernetes and how its answers are read, for servers newer than the one that tests can bring up."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from kubernetes_cluster import DEPLOY, ROOT
from kubernetes_validate import validate

from pipelines.executors.failures import Cause
from pipelines.executors.jobs import Job, Phase
from pipelines.executors.kubernetes import RIGHTS, missing_rights
from pipelines.executors.kubernetes_manifests import SERVICE, amount, job_manifest
from pipelines.executors.kubernetes_status import read
from vrft_core.errors import InputError
from vrft_core.params import Resources

CURRENT = (1, 37)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def template() -> dict:
    return yaml.safe_load((DEPLOY / "job.yaml").read_text())


def job(**resources) -> Job:
    return Job(
        name="vrft-rft-a-benchmark-with-a-rather-long-name-2b-16s-1f0c9a2b",
        root=Path("/srv/vrft"),
        folder=Path("/srv/vrft/runs/jobs/vrft-rft/001-89dd0e53"),
        command=["vrft", "stage", "rft", "--cell", "lvis-mini-1shot-s0"],
        environment={"HF_HUB_OFFLINE": "1"},
        resources=Resources(**resources),
        labels={"run": "89dd0e53-28f5-436d-80c7-6bdd83078137", "asset": "my/lvis_rft_model", "partition": "mini-1shot"},
    )


def pod_spec(manifest: dict) -> dict:
    return manifest["spec"]["template"]["spec"]


def variables(manifest: dict) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod_spec(manifest)["containers"][0]["env"]}


def test_the_template_keeps_what_it_says_and_gets_what_the_stage_needs():
    needs = {"gpus": 1, "gpu_type": "NVIDIA-H100-80GB-HBM3", "cpus": 32, "memory": "400G", "time": "2h"}
    manifest = job_manifest(template(), job(**needs, priority="high", queue="gpu", namespace="team"), CURRENT)
    pod, labels = pod_spec(manifest), manifest["metadata"]["labels"]
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1", "memory": "400Gi"}
    assert container["resources"]["requests"] == {"nvidia.com/gpu": "1", "memory": "400Gi", "cpu": "32"}
    assert container["command"][-5:] == ["vrft", "stage", "rft", "--cell", "lvis-mini-1shot-s0"]
    assert container["workingDir"] == "/srv/vrft" and {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]
    assert {"name": "HOME", "value": "/srv/vrft/.home"} in container["env"]
    assert container["image"] == template()["spec"]["template"]["spec"]["containers"][0]["image"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert (
        pod["tolerations"] == pod_spec(template())["tolerations"] and pod["volumes"] == pod_spec(template())["volumes"]
    )
    assert pod["priorityClassName"] == "high" and pod["activeDeadlineSeconds"] == 7200
    assert manifest["metadata"]["namespace"] == "team" and labels["kueue.x-k8s.io/queue-name"] == "gpu"
    assert labels["vrft/asset"] == "my_lvis_rft_model" and labels["vrft/partition"] == "mini-1shot"
    assert manifest["spec"]["template"]["metadata"]["labels"]["vrft/run"] == "89dd0e53-28f5-436d-80c7-6bdd83078137"
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 86400 and manifest["spec"]["backoffLimit"] == 0


def test_names_and_labels_are_short_enough_for_kubernetes():
    manifest = job_manifest(template(), job(), CURRENT)
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?", manifest["metadata"]["name"])
    assert manifest["metadata"]["name"].endswith("1f0c9a2b-001-89dd0e53")
    assert all(re.fullmatch(r"[\w.-]{1,63}", value) for value in manifest["metadata"]["labels"].values())


def test_a_stage_without_gpu_asks_for_none():
    container = pod_spec(job_manifest(template(), job(), CURRENT))["containers"][0]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_a_disrupted_pod_is_replaced_by_the_server_where_it_can():
    assert "podFailurePolicy" not in job_manifest(template(), job(), (1, 25))["spec"]
    (rule,) = job_manifest(template(), job(), (1, 26))["spec"]["podFailurePolicy"]["rules"]
    assert rule == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_several_nodes_are_an_indexed_job_whose_pods_find_the_first_by_name():
    manifest = job_manifest(template(), job(nodes=2, gpus=8), CURRENT)
    spec, name = manifest["spec"], manifest["metadata"]["name"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert "podFailurePolicy" not in spec  # one pod's fall is all pods' end
    service = yaml.safe_load((DEPLOY / "service.yaml").read_text())
    labels = spec["template"]["metadata"]["labels"]
    assert pod_spec(manifest)["subdomain"] == service["metadata"]["name"] == SERVICE
    assert service["spec"]["selector"].items() <= labels.items()
    launch = variables(manifest)["VRFT_ACCELERATE"]
    assert launch.startswith("--multi_gpu ") and "--num_machines 2 --num_processes 16" in launch
    assert f"--main_process_ip {name}-0.vrft --main_process_port 29500" in launch
    with pytest.raises(InputError, match=r"nodes: .+ has no indexed Jobs"):
        job_manifest(template(), job(nodes=2), (1, 20))


def test_a_training_has_a_process_for_each_gpu():
    launch = variables(job_manifest(template(), job(gpus=8), CURRENT))["VRFT_ACCELERATE"]
    assert launch.endswith("--num_machines 1 --num_processes 8")
    assert "VRFT_ACCELERATE" not in variables(job_manifest(template(), job(gpus=1), CURRENT))


def test_a_template_without_container_is_refused():
    with pytest.raises(InputError, match="containers is missing"):
        job_manifest({"metadata": {}, "spec": {"template": {}}}, job(), CURRENT)


def with_weights_from_a_bucket(template: dict) -> dict:
    """As the remark in job.yaml says, and with an annotation for Kueue."""
    remarks = (DEPLOY / "job.yaml").read_text().split("# - ")
    (volume,) = (yaml.safe_load(remark) for remark in remarks if remark.startswith("{name: weights, csi: "))
    pod = template["spec"]["template"]
    pod["metadata"] = {"annotations": {"kueue.x-k8s.io/podset-required-topology": "rack"}}
    pod["spec"]["volumes"].append(volume)
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "weights", "mountPath": "/weights"})
    return template


def test_what_the_template_mounts_and_says_to_others_stays():
    asked = with_weights_from_a_bucket(template())
    manifest = job_manifest(asked, job(nodes=2, gpus=8), CURRENT)
    assert pod_spec(manifest)["volumes"] == pod_spec(asked)["volumes"]
    assert pod_spec(manifest)["volumes"][-1]["csi"]["volumeAttributes"] == {"bucketName": "weights"}
    assert pod_spec(manifest)["containers"][0]["volumeMounts"][-1]["mountPath"] == "/weights"
    assert manifest["spec"]["template"]["metadata"]["annotations"] == {
        "kueue.x-k8s.io/podset-required-topology": "rack"
    }


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.37"])
def test_current_kubernetes_knows_every_field(version):
    files = ["rbac.yaml", "nodes.yaml", "service.yaml", "orchestrator.yaml"]
    shipped = [part for file in files for part in yaml.safe_load_all((DEPLOY / file).read_text())]
    one = job_manifest(template(), job(gpus=1, gpu_type="H100", queue="gpu", priority="high"), CURRENT)
    several = job_manifest(with_weights_from_a_bucket(template()), job(nodes=2, gpus=8), CURRENT)
    for manifest in [*shipped, template(), one, several]:
        validate(manifest, version, strict=True)


def test_the_role_that_is_shipped_is_what_is_asked_for():
    (role,) = (part for part in yaml.safe_load_all((DEPLOY / "rbac.yaml").read_text()) if part["kind"] == "Role")
    assert {rule["resources"][0]: tuple(rule["verbs"]) for rule in role["rules"]} == RIGHTS


def test_a_right_may_be_given_for_any_verb_or_any_resource():
    assert missing_rights({("*", "*")}) == []
    assert missing_rights({(verb, "*") for verbs in RIGHTS.values() for verb in verbs}) == []
    assert missing_rights({("*", "jobs"), ("list", "*")}) == ["deletecollection pods", "get pods/log"]


def test_the_image_of_a_stage_has_what_the_project_needs_less_the_orchestrators_tools():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w.-]+", line)[0] for line in project["dependencies"]}
    tools = {"dagster", "dagster-webserver", "dagster-dg-cli", "dvc", "ruamel.yaml.clib", "great-expectations"}
    agreed = {"antlr4-python3-runtime", "hydra-core", "omegaconf"}  # between Dagster's and DVC's parsers
    listed = {line for line in (DEPLOY / "requirements.txt").read_text().split("\n") if line and line[0] != "#"}
    assert listed == needed - tools - agreed - {"torch"}


@pytest.mark.parametrize(
    ("quantity", "value"), [("4", 4), ("500m", 0.5), ("200Mi", 200 * 2**20), ("1.5Gi", 1.5 * 2**30), ("16G", 16e9)]
)
def test_quantities_are_read(quantity, value):
    assert amount(quantity) == value


def a_job(condition: dict | None = None, **spec) -> dict:
    conditions = [{"status": "True", **condition}] if condition else []
    return {"metadata": {"name": "j"}, "spec": spec, "status": {"conditions": conditions}}


FAILED = {"type": "Failed", "reason": "BackoffLimitExceeded"}


def a_pod(phase: str, *, node: str = "gpu1", deleted: str | None = None, **status) -> dict:
    container = status.pop("container", None)
    metadata = {"creationTimestamp": "2026-01-01T11:00:00Z", **({"deletionTimestamp": deleted} if deleted else {})}
    statuses = [{"state": container}] if container else []
    spec = {"nodeName": node} if node else {}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "containerStatuses": statuses, **status}}


def ended_with(status: int, **more) -> dict:
    return {"terminated": {"exitCode": status, "reason": "Error", "finishedAt": "2026-01-01T11:30:00Z", **more}}


DISRUPTION = [{"type": "DisruptionTarget", "status": "True", "message": "Preempted by a pod on node gpu1"}]


@pytest.mark.parametrize(
    ("pod", "cause", "text"),
    [
        (a_pod("Failed", container=ended_with(1)), Cause.OWN, "ended with status 1 on gpu1"),
        (a_pod("Failed", container=ended_with(137, reason="OOMKilled")), Cause.MEMORY, "out of memory (OOMKilled)"),
        (a_pod("Failed", reason="DeadlineExceeded"), Cause.TIME, "reached its time limit on gpu1"),
        (
            a_pod("Failed", container=ended_with(143), conditions=DISRUPTION),
            Cause.MACHINE,
            "was taken away on gpu1: Preempted by a pod on node gpu1",
        ),
        (
            a_pod("Failed", reason="Evicted", message="The node was low on resource: memory. "),
            Cause.MACHINE,
            "was taken away on gpu1: Evicted: The node was low on resource: memory.",
        ),
        (
            a_pod("Failed", reason="Evicted", message='Usage of EmptyDir volume "shm" exceeds the limit "8Gi". '),
            Cause.OWN,
            'was evicted on gpu1: Usage of EmptyDir volume "shm" exceeds the limit "8Gi".',
        ),
        (
            a_pod("Failed", container=ended_with(137, reason="ContainerStatusUnknown")),
            Cause.MACHINE,
            "was taken away on gpu1: ContainerStatusUnknown",
        ),
        (
            a_pod("Failed", reason="UnexpectedAdmissionError", message="Allocate failed"),
            Cause.MACHINE,
            "was taken away on gpu1: UnexpectedAdmissionError: Allocate failed",
        ),
        (
            a_pod("Failed", container=ended_with(128, reason="StartError", message='exec: "sh": not found')),
            Cause.REFUSED,
            'cannot start on gpu1: exec: "sh": not found',
        ),
    ],
)
def test_how_a_pod_ended_decides_what_is_said_and_whether_it_is_tried_again(pod, cause, text):
    status = read(a_job(FAILED), [pod], [], [], NOW)
    assert (status.phase, status.cause) == (Phase.ENDED, cause) and text in status.text


def test_a_command_that_was_told_to_end_has_not_failed():
    pod = a_pod("Failed", container=ended_with(143))
    noted = [{"event": "start"}, {"event": "end", "status": 143, "warned": "SIGTERM"}]
    assert read(a_job(FAILED), [pod], [], noted, NOW).cause is Cause.MACHINE


def test_of_several_pods_the_first_that_fell_gives_the_cause():
    first = a_pod("Failed", container=ended_with(137, reason="OOMKilled", finishedAt="2026-01-01T11:29:00Z"))
    status = read(a_job(FAILED), [a_pod("Failed", node="gpu2", container=ended_with(1)), first], [], [], NOW)
    assert status.cause is Cause.MEMORY and status.text.endswith("on gpu1")


def test_a_failed_job_without_pod_was_not_the_commands_fault():
    assert read(a_job(FAILED), [], [], [], NOW).cause is Cause.MACHINE


def test_a_pod_that_should_have_been_gone_for_long_is_lost_with_its_node():
    """Newer servers replace no pod before it has ended, which on a node that is gone it never does."""
    status = read(a_job(), [a_pod("Running", deleted="2026-01-01T11:58:00Z")], [], [], NOW)
    assert (status.phase, status.cause) == (Phase.WAITING, Cause.MACHINE)
    assert status.text == "is lost with its node on gpu1"
    ending = read(a_job(), [a_pod("Running", deleted="2026-01-01T11:59:30Z")], [], [], NOW)
    assert (ending.phase, ending.cause) == (Phase.RUNNING, None)


def test_a_job_that_kueue_holds_back_waits():
    status = read(a_job(suspend=True), [], [], [], NOW)
    assert (status.phase, status.text) == (Phase.WAITING, "waits in its queue (suspended)")


def pulling(why: str, message: str) -> dict:
    return a_pod("Pending", container={"waiting": {"reason": why, "message": message}})


def test_an_image_that_does_not_exist_is_refused_and_one_that_is_being_fetched_is_not():
    missing = pulling("ErrImagePull", "failed to resolve reference registry/vrft:9: not found")
    slow = pulling("ImagePullBackOff", "dial tcp: i/o timeout")
    assert read(a_job(), [missing], [], [], NOW).cause is Cause.REFUSED
    waiting = read(a_job(), [slow], [], [], NOW)
    assert waiting.cause is None and waiting.text == "is starting on gpu1: ImagePullBackOff: dial tcp: i/o timeout"


@pytest.mark.parametrize(("asked", "cause"), [("8Gi", None), ("17Gi", Cause.REFUSED)])
def test_a_quota_that_others_use_up_is_waited_for_and_one_that_is_too_small_is_not(asked, cause):
    message = (
        'Error creating: pods "j-x2x" is forbidden: exceeded quota: q, requested: requests.memory='
        f"{asked},requests.nvidia.com/gpu=1, used: requests.memory=10Gi, limited: requests.memory=16Gi"
    )
    status = read(a_job(), [], [{"reason": "FailedCreate", "message": message}], [], NOW)
    assert (status.phase, status.cause) == (Phase.WAITING, cause)
    assert "forbidden: exceeded quota: q" in status.text and "j-x2x" not in status.text


def test_a_quota_whose_use_is_still_being_counted_is_waited_for():
    message = 'Error creating: pods "j-x2x" is forbidden: status unknown for quota: q, resources: requests.memory'
    status = read(a_job(), [], [{"reason": "FailedCreate", "message": message}], [], NOW)
    assert (status.phase, status.cause) == (Phase.WAITING, None)
