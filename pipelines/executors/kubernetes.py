"""Kubernetes as a place for jobs: a stage is a Job, made from the template in deploy/kubernetes/job.yaml.

Which requests are made, and in which order. What is sent, and what the answers mean, are the modules beside this one.
"""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TypeVar

import yaml

from pipelines.executors import kubernetes_api as api
from pipelines.executors import kubernetes_status as status
from pipelines.executors.failures import Cause
from pipelines.executors.job_executor import JobExecutor
from pipelines.executors.jobs import SECONDS_TO_STOP, Job, Refused, Status, Unreachable, measured
from pipelines.executors.kubernetes_manifests import ID, JOB, amount, job_id, job_manifest, quantities
from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.job import attempts
from vrft_core.params import Resources
from vrft_core.tasks import load_params

T = TypeVar("T")
TEMPLATE = "deploy/kubernetes/job.yaml"  # or the file that the environment variable VRFT_KUBERNETES_JOB names
LINES = 3
RIGHTS = {
    "jobs": ("create", "get", "list", "delete"),
    "pods": ("list", "deletecollection"),
    "pods/log": ("get",),
    "events": ("list",),
}


def kubernetes_executor(root: Path) -> JobExecutor:
    return JobExecutor(root, Kubernetes(root))


class Kubernetes:
    """A `jobs.Place`. An id is `namespace/name` of a Job. The cluster and the login are kubectl's current ones."""

    title = "Kubernetes"
    every = 5.0

    def __init__(self, root: Path) -> None:
        self.root = root

    def submit(self, job: Job) -> str:
        try:
            manifest = job_manifest(self._template, job, api.version())
            namespace = manifest["metadata"]["namespace"]
            if namespace not in self._namespaces:
                raise Refused(f"namespace {namespace} is named neither in the template nor in params.yaml")
            _assert_some_node_is_large_enough(manifest, job.resources)
            io.write_json(job.folder / "manifest.json", manifest)
            api.create(namespace, manifest)
        except api.Denied as error:
            if error.reason != "AlreadyExists":  # otherwise the answer to an earlier request got lost
                raise Refused(str(error)) from None
        except InputError as error:
            raise Refused(str(error)) from None
        return f"{namespace}/{job_id(job)}"

    def find(self, name: str) -> list[str]:
        """A Job counts as long as one of its pods does, even when it is deleted itself."""
        if self._missing_rights:
            raise Refused(f"this login may not {'; '.join(self._missing_rights)} (deploy/kubernetes/rbac.yaml)")
        ids = {}
        for namespace in self._namespaces:
            for job in _insist(api.find, namespace, "jobs", labelSelector=f"{JOB}={name}"):
                if not status.finished(job):
                    ids[f"{namespace}/{job['metadata']['name']}"] = True
            for pod in _insist(api.find, namespace, "pods", labelSelector=f"{JOB}={name}"):
                if not status.over(pod):
                    ids[f"{namespace}/{pod['metadata']['labels'][ID]}"] = True
        return list(ids)

    def look(self, id: str, folder: Path) -> Status:
        namespace, name = id.split("/")
        noted = attempts(folder)
        try:
            job = api.get(namespace, "jobs", name)
        except api.Denied as error:
            if error.reason != "NotFound":
                raise Unreachable(str(error)) from None
            return status.without_job(noted)
        pods = _insist(api.find, namespace, "pods", labelSelector=f"{ID}={name}")
        about = f"involvedObject.uid={job['metadata']['uid']}"
        events = (
            []
            if any(not status.over(pod) for pod in pods)
            else _insist(api.find, namespace, "events", fieldSelector=about)
        )
        found = status.read(job, pods, events, noted, datetime.now(UTC))
        if found.cause is Cause.OWN and not noted:  # the command was never begun; the reason is in the pod's own log
            said = " / ".join(line for pod in pods for line in _log(namespace, pod["metadata"]["name"]))
            return Status(found.phase, f"{found.text}: {said}" if said else found.text, found.cause)
        return found

    def cancel(self, id: str, now: bool) -> None:
        namespace, name = id.split("/")
        _insist(api.delete, namespace, "jobs", name)  # first, so that no pod is replaced
        _insist(api.delete_all, namespace, "pods", 0 if now else SECONDS_TO_STOP, labelSelector=f"{ID}={name}")

    def cost(self, id: str, folder: Path, resources: Resources) -> Mapping[str, float]:
        return measured(folder, resources)

    @cached_property
    def _template(self) -> dict:
        path = self.root / (os.environ.get("VRFT_KUBERNETES_JOB") or TEMPLATE)
        try:
            template = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise Refused(f"the template of its Job, {path}: {error}") from None
        if not isinstance(template, dict) or not template.get("metadata", {}).get("namespace"):
            raise Refused(f"the template of its Job, {path}: metadata.namespace is missing")
        return template

    @cached_property
    def _namespaces(self) -> list[str]:
        """The template's, and those of params.yaml."""
        recipes = load_params(self.root / "params.yaml").resources.values()
        named = {stage.namespace for recipe in recipes for stage in dict(recipe).values()}
        return sorted({self._template["metadata"]["namespace"], *named} - {None})

    @cached_property
    def _missing_rights(self) -> list[str]:
        """Verbs that this login lacks, as far as the server can tell."""
        missing = []
        for namespace in self._namespaces:
            try:
                given = api.rights(namespace)
            except api.Denied as error:
                raise Refused(str(error)) from None
            missing += [f"{lacking} in {namespace}" for lacking in missing_rights(given)] if given is not None else []
        return missing


def missing_rights(given: set[tuple[str, str]]) -> list[str]:
    """Of RIGHTS, those not among the (verb, resource) pairs given, a line a resource. "*" is any."""
    missing = []
    for resource, verbs in RIGHTS.items():
        lacking = [verb for verb in verbs if not {*product((verb, "*"), (resource, "*"))} & given]
        missing += [f"{', '.join(lacking)} {resource}"] if lacking else []
    return missing


def _insist(ask: Callable[..., T], *arguments, **selectors) -> T:
    """A refusal of what was allowed at first counts as absence: it is said, and asked again until it is allowed."""
    try:
        return ask(*arguments, **selectors)
    except api.Denied as error:
        raise Unreachable(str(error)) from None


def _log(namespace: str, pod: str) -> list[str]:
    try:
        return api.log(namespace, pod, LINES).splitlines()
    except api.Denied:
        return []


def _assert_some_node_is_large_enough(manifest: dict, needs: Resources) -> None:
    """Where this login may list nodes (deploy/kubernetes/nodes.yaml; not where nodes are added on demand).

    Raises Refused: such a pod would wait for ever.
    """
    try:
        nodes = api.nodes()
    except api.Denied:
        return
    wanted = manifest["spec"]["template"]["spec"].get("nodeSelector", {}).items()
    nodes = [node for node in nodes if wanted <= node["metadata"].get("labels", {}).items()]
    if not nodes:
        raise Refused(f"no node has the labels {dict(wanted)}")
    offers = [node["status"]["allocatable"] for node in nodes]
    for name, asked in quantities(needs).items():
        most = max((offer.get(name, "0") for offer in offers), key=amount)
        if amount(asked) > amount(most):
            raise Refused(f"no node has {asked} of {name}; the largest has {most}")
