"""Compose file, image and Kubernetes manifests: what schemas accept, and what must agree with the code. Nothing here is run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from schemas.settings import Deployment
from streams import manifests
from streams.cli import make_app
from streams.engine.health import Health
from streams.engine.liveness import Watchdog
from streams.engine.probes import Probes
from streams.groups import plan_topics
from streams.topology import TOPOLOGY

ROOT = Path(__file__).resolve().parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "docker-compose.yml"
COMPOSE_CHECKER = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")
KUBERNETES_CHECKER = (sys.executable, "-m", "kubernetes_validate", "--strict")
VARIABLES = {f"NPO_{name.upper()}" for name in Deployment.model_fields}


def compose() -> dict[str, Any]:
    """Return the compose file."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


def documents(name: str) -> list[dict[str, Any]]:
    """Return the resources of one file of manifests."""
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


def pods() -> dict[str, dict[str, Any]]:
    """Return the container of each Deployment by the Deployment's name."""
    found = [each for each in documents("pipeline.yaml") if each["kind"] == "Deployment"]
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0] for each in found}


def commands() -> Iterator[list[str]]:
    """Give every command that compose file and manifests start our own image with."""
    yield from (service["command"] for service in compose()["services"].values() if service["image"] == "npo:latest")
    yield from (container["command"] for container in pods().values())


def accepts(checker: tuple[str, ...], path: Path) -> subprocess.CompletedProcess[str]:
    """Run a schema checker over a file."""
    return subprocess.run([*checker, str(path)], capture_output=True, text=True, check=False)


def test_compose_file_is_valid() -> None:
    """The schema of the Compose specification accepts the compose file."""
    checked = accepts(COMPOSE_CHECKER, COMPOSE)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_pipeline_manifests_are_valid() -> None:
    """Kubernetes' own schemas, strict about unknown fields, accept every resource of the pipeline."""
    checked = accepts(KUBERNETES_CHECKER, KUBERNETES / "pipeline.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("checker", "path", "right", "wrong"),
    [
        (COMPOSE_CHECKER, COMPOSE, "hostname: kafka", "hostnam: kafka"),
        (COMPOSE_CHECKER, COMPOSE, "condition: service_healthy", "condition: healthy"),
        (KUBERNETES_CHECKER, KUBERNETES / "pipeline.yaml", "replicas: 2", "replicas: two"),
        (KUBERNETES_CHECKER, KUBERNETES / "pipeline.yaml", "runAsNonRoot: true", "runAsNonRot: true"),
    ],
)
def test_checkers_refuse_mistakes(tmp_path: Path, checker: tuple[str, ...], path: Path, right: str, wrong: str) -> None:
    """The checkers find a misspelt field and a value of the wrong type: that they accept our files says something."""
    text = path.read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(right, wrong, 1), encoding="utf-8")
    assert accepts(checker, broken).returncode != 0


def test_manifests_are_those_of_the_topology() -> None:
    """The files in deploy/kubernetes are what the generator writes: `python -m streams.manifests` after a change of the topology."""
    assert (KUBERNETES / "topics.yaml").read_text(encoding="utf-8") == manifests.topics_yaml()
    assert (KUBERNETES / "pipeline.yaml").read_text(encoding="utf-8") == manifests.pipeline_yaml()


def test_every_topic_has_a_manifest() -> None:
    """Strimzi is given each topic that `npo topics apply` would create, as it would, under a name that Kubernetes takes."""
    given = {each["metadata"]["name"]: each for each in documents("topics.yaml")}
    planned = plan_topics(TOPOLOGY, manifests.PARTITIONS)
    assert given.keys() == {plan.name for plan in planned}
    for plan in planned:
        topic = given[plan.name]
        assert (topic["apiVersion"], topic["kind"]) == ("kafka.strimzi.io/v1", "KafkaTopic")
        assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", plan.name)
        assert topic["spec"] == {"partitions": plan.partitions, "replicas": manifests.REPLICAS, "config": plan.config | manifests.DURABLE}


def test_every_task_group_has_workers() -> None:
    """Compose file and manifests start workers for each group of the topology, the publisher and the console."""
    servers = {("python", "-m", module) for module in ("streams.serving.publisher", "streams.console.server")}
    wanted = {("npo", "worker", group.name) for group in TOPOLOGY} | servers
    for started in (
        [service.get("command", ()) for service in compose()["services"].values()],
        [pod["command"] for pod in pods().values()],
    ):
        assert wanted <= {tuple(command) for command in started}


def test_commands_exist() -> None:
    """What the image is started with is a command of the command line or a module that can be run."""
    known = set(make_app())
    for program, *arguments in commands():
        if program == "npo":
            assert arguments[0] in known
        else:
            assert (program, arguments[0]) == ("python", "-m")
            assert (ROOT / f"{arguments[1].replace('.', '/')}.py").is_file()


def test_variables_exist() -> None:
    """Every NPO_ variable that compose file, manifests and image set is one that the settings read."""
    texts = [COMPOSE, ROOT / "Dockerfile", *KUBERNETES.glob("*.yaml")]
    named = {name for path in texts for name in re.findall(r"\bNPO_[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    assert named
    assert named <= VARIABLES


def test_services_find_each_other() -> None:
    """Each address in the pipeline's environment names a service of the compose file, and what a service waits for exists."""
    services = compose()["services"]
    environment = compose()["x-npo"]["environment"]
    assert environment["NPO_BROKER"].partition(":")[0] in services
    assert re.split(r"[/:]+", environment["NPO_REDIS"])[1] in services
    assert f"INTERNAL://{environment['NPO_BROKER']}" in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert name in services
            assert condition["condition"] != "service_healthy" or "healthcheck" in services[name]


def test_probes_ask_what_is_answered() -> None:
    """All probes, scrapes and health checks of our processes ask for a path that they serve, at the port that their environment sets."""
    served = {route.path for route in Probes("", 0, Health(Deployment(), Watchdog(1)), CollectorRegistry()).routes()}
    (environment,) = (each["data"] for each in documents("pipeline.yaml") if each["kind"] == "ConfigMap")
    assert environment["NPO_HEALTH_HOST"] == "0.0.0.0"  # noqa: S104 - what is asserted
    for each in documents("pipeline.yaml"):
        if each["kind"] != "Deployment":
            continue
        template = each["spec"]["template"]
        (container,) = template["spec"]["containers"]
        (port,) = container["ports"]
        scraped = template["metadata"]["annotations"]
        own = {variable["name"]: variable["value"] for variable in container.get("env", ())}
        listens = own.get("NPO_CONSOLE_PORT", environment["NPO_HEALTH_PORT"])
        assert str(port["containerPort"]) == scraped["prometheus.io/port"] == listens
        asked = [container[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")]
        assert [ask["port"] for ask in asked] == [port["name"]] * 2
        assert {*(ask["path"] for ask in asked), scraped["prometheus.io/path"]} == served
    for name, service in compose()["services"].items():
        if name.startswith("worker-") or name in {"publisher", "console"}:
            host_and_port, path = re.findall(r"http://([^/]+)(/\w+)", service["healthcheck"]["test"][-1])[0]
            listens = service["environment"].get("NPO_CONSOLE_PORT", service["environment"]["NPO_HEALTH_PORT"])
            assert host_and_port == f"127.0.0.1:{listens}"
            assert path in served


def test_containers_run_without_root() -> None:
    """No process of ours runs as root: the image names a user by number, and the manifests demand the same one."""
    assert f"USER {manifests.USER}" in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    for each in documents("pipeline.yaml"):
        if each["kind"] == "Deployment":
            security = each["spec"]["template"]["spec"]["securityContext"]
            assert (security["runAsNonRoot"], security["runAsUser"]) == (True, manifests.USER)


def test_image_is_built_from_what_exists() -> None:
    """What the Dockerfile copies exists and is not ignored, and its uv is the one of the lock."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert {"pyproject.toml", "requirements.lock", "streams"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    (version,) = re.findall(r"^ARG UV_VERSION=(\S+)$", text, re.MULTILINE)
    assert f"\nuv=={version} " in (ROOT / "requirements.lock").read_text(encoding="utf-8")
