"""A real Kubernetes on this machine, from ../shared/tools/kubernetes: one node that pretends to have four GPUs.

Its pods see this machine's folders in place of an image with Python in it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
import yaml
from one_at_a_time import one_at_a_time

ROOT = Path(__file__).parents[1]
TOOLS = ROOT.parent / "shared/tools/kubernetes"
DEPLOY = ROOT / "deploy/kubernetes"
NAMESPACE = "vrft"
STATE = Path(os.environ.get("K8S_ROOT") or Path(os.environ.get("TMPDIR", "/tmp")) / "k8srun")
ADMIN = STATE / "kubeconfig"
# Dagster's account in its Helm chart, with those of its rights that are used here.
RIGHTS_OF_THE_CHART = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: dagster}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: dagster}
rules:
  - {apiGroups: [batch], resources: [jobs], verbs: [create, get, list, delete]}
  - {apiGroups: [batch], resources: [jobs/status], verbs: [get]}
  - {apiGroups: [""], resources: [pods], verbs: [get, list, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: dagster}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: dagster}
subjects: [{kind: ServiceAccount, name: dagster, namespace: vrft}]
"""


@contextmanager
def cluster() -> Iterator[None]:
    """Up with the namespace and the rights of deploy/kubernetes; one that was up before stays up."""
    mine = not _answers()
    try:
        with one_at_a_time("cluster-up"):
            done = subprocess.run(["bash", TOOLS / "up.sh"], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        wait(lambda: "default" in kubectl("get", "serviceaccounts", "-o", "name"))  # no pod is made before
        wait(lambda: "nvidia.com/gpu:4" in kubectl("get", "nodes", "-o", "jsonpath={..allocatable}").replace('"', ""))
        for file in ("rbac.yaml", "nodes.yaml"):
            kubectl("apply", "-f", str(DEPLOY / file))
        yield
    finally:
        if mine:
            subprocess.run(["bash", TOOLS / "down.sh"], check=True, timeout=300)


def _answers() -> bool:
    """Whether an API server is up. A kubeconfig alone may be left from one that is not."""
    ask = ["kubectl", "--kubeconfig", str(ADMIN), "--request-timeout=10s", "get", "--raw", "/healthz"]
    return ADMIN.exists() and subprocess.run(ask, capture_output=True, timeout=60).returncode == 0


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """As the administrator, in the tests' namespace."""
    command = ["kubectl", "--kubeconfig", str(ADMIN), "--namespace", NAMESPACE, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def apply(manifest: dict) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def pods(phase: str = "Running") -> list[dict]:
    """Those that are not on their way out."""
    found = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
    return [pod for pod in found if pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def watched_pods() -> Iterator[Callable[[], list[tuple[str, dict]]]]:
    """Gives a function that returns what has become of pods since: ADDED, MODIFIED or DELETED, and their metadata."""
    command = ["kubectl", "--kubeconfig", str(ADMIN), "--namespace", NAMESPACE, "get", "pods", "-o", "json"]
    with tempfile.TemporaryFile("w+") as file:
        watch = subprocess.Popen([*command, "--watch", "--output-watch-events"], stdout=file)

        def events() -> list[tuple[str, dict]]:
            text, found = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(), []
            while text := text.lstrip():
                try:
                    event, end = json.JSONDecoder().raw_decode(text)
                except json.JSONDecodeError:  # the last one is being written
                    break
                found.append((event["type"], event["object"]["metadata"]))
                text = text[end:]
            return found

        try:
            yield events
        finally:
            watch.kill()
            watch.wait()


def running_pod(root: Path) -> dict:
    """The running pod of a project's command, as soon as the command has made its mark `starts`."""
    found = []

    def there() -> bool:
        found[:] = [pod for pod in pods() if pod["spec"]["containers"][0].get("workingDir") == str(root)]
        return bool(found)

    wait((root / "starts").exists)
    wait(there)
    return found[0]


def kubeconfig_of(account: str, path: Path) -> Path:
    """Write a kubeconfig that logs in as a service account of the namespace."""
    ask = ("get", "serviceaccount", account, "-o", "jsonpath={.secrets[*].name}")
    wait(lambda: kubectl(*ask))
    secret = kubectl(*ask).split()[0]
    token = kubectl("get", "secret", secret, "-o", "go-template={{.data.token | base64decode}}")
    config = yaml.safe_load(ADMIN.read_text())
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    path.write_text(yaml.safe_dump(config))
    return path


def template(*, path: str = "", folders: list[str] | None = None, image: str = "test.local/host:1") -> dict:
    """A job template whose pods find this Python and these folders."""
    shared = ["/usr", "/etc", tempfile.gettempdir(), sys.base_prefix, str(ROOT)] if folders is None else folders
    mounts = [{"name": f"folder-{number}", "mountPath": folder} for number, folder in enumerate(shared)]
    container = {
        "name": "stage",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [
            {"name": "PATH", "value": path or f"{Path(sys.executable).parent}:/usr/bin:/bin"},
            {"name": "HOME", "value": tempfile.gettempdir()},
        ],
        "volumeMounts": mounts,
    }
    pod = {
        "hostNetwork": True,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 20,
        "containers": [container],
        "volumes": [{"name": mount["name"], "hostPath": {"path": mount["mountPath"]}} for mount in mounts],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": NAMESPACE},
        "spec": {"ttlSecondsAfterFinished": 600, "template": {"spec": pod}},
    }


@contextmanager
def dagster_in_pods(home: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster whose runs K8sRunLauncher starts; `home` holds its database, which its pods see too."""
    template_ = template()["spec"]["template"]["spec"]
    (container,) = template_.pop("containers")
    port = yaml.safe_load(ADMIN.read_text())["clusters"][0]["cluster"]["server"].rpartition(":")[2]
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",  # nothing here routes to a service's own address
        "KUBERNETES_SERVICE_PORT": port,
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests",
    }
    launcher = {
        "service_account_name": "dagster",
        "job_namespace": NAMESPACE,
        "job_image": container["image"],
        "image_pull_policy": "Never",
        "instance_config_map": "dagster-instance",
        "dagster_home": str(home),
        "run_k8s_config": {
            "container_config": {
                "env": container["env"] + [{"name": name, "value": value} for name, value in environment.items()],
                "volume_mounts": container["volumeMounts"],
            },
            "pod_spec_config": {
                "host_network": True,
                "termination_grace_period_seconds": 5,
                "volumes": template_["volumes"],
            },
        },
    }

    def settings(**login: object) -> str:
        config = {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher | login}
        return yaml.safe_dump({"telemetry": {"enabled": False}, "run_launcher": config})

    for part in yaml.safe_load_all(RIGHTS_OF_THE_CHART):
        apply(part)
    config_map = {"dagster.yaml": settings(load_incluster_config=True)}
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dagster-instance"}, "data": config_map})
    login = kubeconfig_of("dagster", home / "kubeconfig")
    (home / "dagster.yaml").write_text(settings(load_incluster_config=False, kubeconfig_file=str(login)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            yield instance


def evict(pod: dict) -> None:
    """As a drained node or a tired one does it."""
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def lose_node_under(pod: dict) -> None:
    """As if its power went: no process is told, and what cleans up after lost nodes removes the pod."""
    with away("kubelet"):
        for file in Path("/sys/fs/cgroup").glob(f"**/kubepods/**/pod{pod['metadata']['uid']}/**/cgroup.procs"):
            for pid in file.read_text().split():
                with suppress(ProcessLookupError):  # a namespace's first process takes the others with it
                    os.kill(int(pid), signal.SIGKILL)
        kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")


@contextmanager
def away(component: str) -> Iterator[None]:
    """`apiserver` or `kubelet` answers nothing meanwhile."""
    pid = int((STATE / f"run/{component}.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait(for_what: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
