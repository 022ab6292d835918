"""The Kubernetes API through kubectl, which brings the user's own login, whatever kind it is. JSON in, JSON out.

Requests, and what kind of answer a refusal is. What is asked for, and why, is `kubernetes`' business.
"""

import json
import re
import subprocess
from urllib.parse import urlencode

from pipelines.executors.jobs import Unreachable
from vrft_core.pauses import answer

TIMEOUT = 10  # seconds a request may take
SERVER_SAID = re.compile(r"Error from server \((?P<reason>\w+)\): (?P<message>.*)", re.DOTALL)
INVALID = re.compile(r"The \w+ \"[^\"]*\" is invalid: (?P<message>.*)", re.DOTALL)
PASSING = {"InternalError", "ServiceUnavailable", "ServerTimeout", "Timeout", "TooManyRequests"}
DELETE = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}


class Denied(Exception):
    """The API server said no. `reason` is its word for it: Forbidden, NotFound, AlreadyExists, Invalid …"""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def version() -> tuple[int, int]:
    """The server's, such as (1, 33). Like every request here it raises Denied or Unreachable."""
    found = _ask("get", "/version")
    return int(found["major"]), int(re.sub(r"\D.*", "", found["minor"]))  # some say 33+


def create(namespace: str, manifest: dict) -> dict:
    """A manifest with a field that the server does not know is Invalid (from Kubernetes 1.25)."""
    return _ask("create", f"{_path(namespace, manifest['kind'].lower() + 's')}?fieldValidation=Strict", manifest)


def get(namespace: str, kind: str, name: str) -> dict:
    return _ask("get", f"{_path(namespace, kind)}/{name}")


def find(namespace: str, kind: str, **selectors: str) -> list[dict]:
    """`selectors`: labelSelector, fieldSelector."""
    return _ask("get", f"{_path(namespace, kind)}?{urlencode(selectors)}")["items"]


def nodes() -> list[dict]:
    return _ask("get", "/api/v1/nodes")["items"]


def delete(namespace: str, kind: str, name: str) -> None:
    """And, in a while, what belongs to it. One that is not there is as good as deleted."""
    try:
        _ask("delete", f"{_path(namespace, kind)}/{name}", DELETE)
    except Denied as error:
        if error.reason != "NotFound":
            raise


def delete_all(namespace: str, kind: str, seconds: int, **selectors: str) -> None:
    """`seconds`: what their processes have to end in."""
    _ask("delete", f"{_path(namespace, kind)}?{urlencode(selectors)}", DELETE | {"gracePeriodSeconds": seconds})


def log(namespace: str, pod: str, lines: int) -> str:
    return _kubectl("get", f"{_path(namespace, 'pods')}/{pod}/log?tailLines={lines}").decode("utf-8", "replace")


def rights(namespace: str) -> set[tuple[str, str]] | None:
    """(verb, resource) pairs that this login may use there, "*" for any; None where the server cannot tell."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    status = _ask("create", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review)["status"]
    if status["incomplete"]:
        return None
    rules = [rule for rule in status["resourceRules"] if not rule.get("resourceNames")]
    return {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule.get("resources", ())}


def _path(namespace: str, kind: str) -> str:
    return f"/{'apis/batch/v1' if kind == 'jobs' else 'api/v1'}/namespaces/{namespace}/{kind}"


def _ask(verb: str, path: str, body: dict | None = None) -> dict:
    return json.loads(_kubectl(verb, path, body))


def _kubectl(verb: str, path: str, body: dict | None = None) -> bytes:
    command = ["kubectl", verb, "--raw", path, *(["-f", "-"] if body else [])]
    try:
        done = answer(command, TIMEOUT, json.dumps(body).encode() if body else b"", whole=verb == "create")
    except FileNotFoundError:
        raise Denied("NoClient", "the program kubectl is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"no answer within {TIMEOUT} s") from None
    if done.returncode:
        raise _error(done.stderr.decode("utf-8", "replace").strip())
    return done.stdout


def _error(said: str) -> Exception:
    if found := INVALID.match(said):
        return Denied("Invalid", found["message"])
    if found := SERVER_SAID.match(said):
        if found["reason"] in PASSING:
            return Unreachable(found["message"])
        return Denied(found["reason"], found["message"])
    if "Unauthorized" in said:
        return Denied("Unauthorized", said)
    return Unreachable(said.splitlines()[-1] if said else "kubectl failed without a word")
