"""deploy/compose.yaml and the images say nothing that is not there, and nothing that should not be said."""

import re
import sys

import pytest
import yaml
from small_project import ROOT

from pipelines import postgres
from pipelines.definitions import LOCATION
from vrft_core import __version__

sys.path.insert(0, str(ROOT / "deploy"))
import rehearse_image

FILE = ROOT / "deploy/compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if name != "postgres"}
# Of the Compose specification, what is used here; a slip of the pen is in none of these.
TOP = {"name", "services", "networks", "volumes"}
SERVICE = {
    "build", "cap_add", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init", "networks",
    "ports", "restart", "security_opt", "shm_size", "user", "volumes", "working_dir",
}  # fmt: skip
PASSWORD = "${VRFT_PASSWORD:?set a password for PostgreSQL}"


def test_every_name_in_it_is_one_that_compose_knows_and_every_reference_leads_somewhere():
    assert {key for key in COMPOSE if not key.startswith("x-")} == TOP
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE, name
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and "healthcheck" in SERVICES[other]
        for volume in service.get("volumes", ()):
            if volume["type"] == "volume":
                assert volume["source"] in COMPOSE["volumes"]
            elif not volume["source"].startswith("$"):
                assert (FILE.parent / volume["source"]).is_file() and volume["read_only"]
        assert set(service["healthcheck"]) <= {"test", "interval", "timeout", "retries"}
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped", "as `make services` starts again what ends"


def test_only_loopback_of_the_machine_is_listened_on():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(published) == ["127.0.0.1:3000:3000", "127.0.0.1:5000:5000"]
    assert COMPOSE["networks"]["stores"] == {"internal": True} and SERVICES["postgres"]["networks"] == ["stores"]


def test_the_password_comes_from_the_environment_and_stands_in_no_address():
    text = FILE.read_text(encoding="utf-8")
    for line in text.splitlines():
        if "PASSWORD" in line and not line.lstrip().startswith("#"):
            assert line.partition(": ")[2] == f'"{PASSWORD}"', line
    addresses = re.findall(r"postgresql\+\S+", text)
    assert len(addresses) == 2 and all(f"://{postgres.OWNER}@postgres/" in address for address in addresses)


def test_nobody_is_root_or_may_become_it():
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    for service in OURS.values():
        assert service["user"] == "${VRFT_USER:-1000:1000}" and "cap_add" not in service


def test_the_image_is_this_version_of_a_target_that_exists():
    targets = rehearse_image.instructions(rehearse_image.DOCKERFILE.read_text(encoding="utf-8"))
    for service in OURS.values():
        assert service["image"] == f"registry.example.org/vrft-services:{__version__}"
        build = service["build"]
        assert build["target"] in targets and (FILE.parent / build["context"] / build["dockerfile"]).is_file()
    tags = set(re.findall(r"registry\.example\.org/vrft-services:(\S+)", rehearse_image.DOCKERFILE.read_text()))
    assert tags == {__version__}


@pytest.mark.parametrize("target", ["job", "services", "orchestrator"])
def test_an_image_is_made_from_files_that_are_sent_ends_as_no_root_and_takes_versions_from_the_lock(target):
    every = rehearse_image.instructions(rehearse_image.DOCKERFILE.read_text(encoding="utf-8"))
    steps, patterns = rehearse_image.steps_of(target, every), rehearse_image.ignored()
    for word, rest in steps:
        for source in rest.split()[:-1] if word == "COPY" else ():
            assert rehearse_image.copied(source, patterns), f"{source} is not sent"
    assert [rest for word, rest in steps if word == "USER"][-1] == "1000:1000"
    installs = [rest for word, rest in steps if word == "RUN" and "uv pip install" in rest]
    assert installs and all(
        "requirements.lock" in part or "--no-deps" in part for rest in installs for part in rest.split("&&")
        if "uv pip install" in part
    )  # fmt: skip
    sent = {path.relative_to(ROOT).as_posix() for path in rehearse_image.copied("vrft_core", patterns)}
    assert "vrft_core/params/params.schema.json" in sent and not any("__pycache__" in name for name in sent)


def test_pages_and_daemon_call_the_code_by_one_name():
    """Else the daemon finds nothing of what is launched in the pages."""
    workspace = yaml.safe_load((FILE.parent / "services/workspace.yaml").read_text())
    server = {"host": "code", "port": 4000, "location_name": LOCATION}
    assert workspace == {"load_from": [{"grpc_server": server}]}
    assert SERVICES["pages"]["command"][-1] == "code:4000" and SERVICES["code"]["command"][-1] == "4000"


def test_dagster_accepts_its_settings(monkeypatch):
    from dagster._core.instance.config import dagster_instance_config

    monkeypatch.setenv("VRFT_DAGSTER_STORE", "postgresql+psycopg2://vrft@postgres/dagster")
    found, _ = dagster_instance_config(str(FILE.parent / "services"))
    assert found["storage"] == {"postgres": {"postgres_url": {"env": "VRFT_DAGSTER_STORE"}}}
    assert found["run_monitoring"]["enabled"] and found["run_retries"]["max_retries"] == 2


def test_where_no_server_is_installed_it_is_one_line(monkeypatch, tmp_path):
    from vrft_core.errors import InputError

    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="postgres: is not installed; apt-get install postgresql"):
        postgres.programs()
