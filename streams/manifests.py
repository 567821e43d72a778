"""Kubernetes manifests, written from the topology: `python -m streams.manifests` writes them to deploy/kubernetes.

Topics for Strimzi, a Deployment of every task group, of the publisher and of the console. A first form: checked against schemas, never run.
"""

from typing import Any

import yaml

from schemas.settings import CONSOLE_PORT, DEPLOY
from streams.groups import TopicPlan, plan_topics
from streams.topology import TOPOLOGY

CLUSTER = "npo"
# Several times as many as workers of a group, so that they share evenly.
PARTITIONS = 12
REPLICAS = 3
# What is acknowledged must outlive a leader.
DURABLE = {"min.insync.replicas": "2"}
WORKERS = 2
USER = 10001
HOME = "/var/lib/npo"
HEALTH_PORT = 8080
TOKENS = "/etc/npo"

GENERATED = "# Written from streams/topology.py by `python -m streams.manifests`; do not edit.\n"
TOPICS_TEXT = f"""{GENERATED}
# The topics, for Strimzi 0.49 or newer and a Kafka cluster `{CLUSTER}` of {REPLICAS} brokers at least. Without Strimzi: `npo topics apply`.
"""
PIPELINE_TEXT = f"""{GENERATED}
# Workers, publisher and console. Needs the Kafka cluster `{CLUSTER}` and its topics in the same namespace, a Redis or Valkey at `valkey`,
# and the image of the repository's Dockerfile as `npo:latest`. For SASL, make a Secret `npo-kafka` with NPO_SASL_USERNAME and
# NPO_SASL_PASSWORD, and add NPO_SECURITY_PROTOCOL and NPO_SASL_MECHANISM to the ConfigMap.
#
# A worker that has work and makes no progress ends itself with code 1, and is started again. The liveness probe is for what cannot do
# that: an interpreter that is stuck as a whole. Readiness keeps a roll-out from going on before the new workers have recovered.
# The probes' address is open to the cluster: it tells counts and names of topics, and takes nothing. The console's takes answers and
# commands, from who has a token: `NPO_TOKENS=tokens.json npo token add NAME --role admin`, and the file as the Secret `npo-tokens`:
# `kubectl create secret generic npo-tokens --from-file tokens.json`. TLS is for an Ingress or a Gateway before the Service `npo-console`.
# No volume claims: a store lives as long as its pod; a new pod rebuilds it from the changelog topic.
"""


def topic(plan: TopicPlan) -> dict[str, Any]:
    """Return one topic as Strimzi's KafkaTopic; its name on the broker is a valid name in Kubernetes too."""
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": plan.name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {"partitions": plan.partitions, "replicas": REPLICAS, "config": plan.config | DURABLE},
    }


def environment() -> dict[str, Any]:
    """Return the ConfigMap with what all processes share."""
    data = {
        "NPO_BROKER": f"{CLUSTER}-kafka-bootstrap:9092",
        "NPO_REDIS": "redis://valkey:6379/0",
        "NPO_PARTITIONS": str(PARTITIONS),
        "NPO_HOME": HOME,
        # The kubelet comes from outside of the pod.
        "NPO_HEALTH_HOST": "0.0.0.0",  # noqa: S104
        "NPO_HEALTH_PORT": str(HEALTH_PORT),
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "npo"}, "data": data}


def probes(port: int) -> dict[str, Any]:
    """Return the probes of a container, and the port that they and Prometheus ask."""
    return {
        "ports": [{"name": "health", "containerPort": port}],
        # Ends what has not answered for half a minute; a step that computes for long answers all the same.
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": "health"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}, "periodSeconds": 5, "timeoutSeconds": 5},
    }


def deployment(component: str, command: list[str], replicas: int, cpu: str, port: int = HEALTH_PORT) -> dict[str, Any]:
    """Return the Deployment of one component, whose processes need nothing but the broker, Redis and room for a store.

    Args:
        component: Its name.
        command: What its container runs.
        replicas: How many pods.
        cpu: What each asks for.
        port: Where it answers probes and Prometheus.
    """
    labels = selector(component)
    container = {
        "name": component,
        "image": "npo:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "envFrom": [{"configMapRef": {"name": "npo"}}, {"secretRef": {"name": "npo-kafka", "optional": True}}],
        "resources": {"requests": {"cpu": cpu, "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "home", "mountPath": HOME}, {"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
        **probes(port),
    }
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics"}
    pod = {
        "automountServiceAccountToken": False,
        # A worker gives itself 15 s to end its transaction and leave its group.
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "home", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"npo-{component}", "labels": labels},
        "spec": {
            "replicas": replicas,
            # The old pod leaves before the new one comes: one rebalance less, and never two publishers.
            "strategy": {"type": "Recreate"} if replicas == 1 else {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": scraped}, "spec": pod},
        },
    }


def selector(component: str) -> dict[str, str]:
    """Return the labels of one component's pods."""
    return {"app.kubernetes.io/name": "npo", "app.kubernetes.io/component": component}


def console() -> list[dict[str, Any]]:
    """Return the console's Deployment, which reads its tokens from a Secret, and the Service before it."""
    found = deployment("console", ["python", "-m", "streams.console.server"], 1, "250m", CONSOLE_PORT)
    pod = found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # The Service comes from outside of the pod.
    variables = {"NPO_CONSOLE_HOST": "0.0.0.0", "NPO_CONSOLE_PORT": str(CONSOLE_PORT), "NPO_TOKENS": f"{TOKENS}/tokens.json"}  # noqa: S104
    container["env"] = [{"name": name, "value": value} for name, value in variables.items()]
    container["volumeMounts"].append({"name": "tokens", "mountPath": TOKENS, "readOnly": True})
    # The console lets no file in that others may write.
    pod["volumes"].append({"name": "tokens", "secret": {"secretName": "npo-tokens", "defaultMode": 0o440}})
    ports = [{"name": "http", "port": 80, "targetPort": "health"}]
    labels = selector("console")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "npo-console", "labels": labels},
        "spec": {"selector": labels, "ports": ports},
    }
    return [found, service]


def topics_yaml() -> str:
    """Return deploy/kubernetes/topics.yaml."""
    return _write(TOPICS_TEXT, [topic(plan) for plan in plan_topics(TOPOLOGY, PARTITIONS)])


def pipeline_yaml() -> str:
    """Return deploy/kubernetes/pipeline.yaml."""
    workers = [deployment(group.name, ["npo", "worker", group.name], WORKERS, "1") for group in TOPOLOGY]
    publisher = deployment("publisher", ["python", "-m", "streams.serving.publisher"], 1, "250m")
    return _write(PIPELINE_TEXT, [environment(), *workers, publisher, *console()])


class _Dumper(yaml.SafeDumper):
    """Writes shared parts out each time: aliases make a manifest hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's
        return True


def _write(introduction: str, documents: list[dict[str, Any]]) -> str:
    return introduction + yaml.dump_all(documents, Dumper=_Dumper, explicit_start=True, sort_keys=False)


if __name__ == "__main__":
    directory = DEPLOY / "kubernetes"
    directory.mkdir(exist_ok=True)
    (directory / "topics.yaml").write_text(topics_yaml(), encoding="utf-8")
    (directory / "pipeline.yaml").write_text(pipeline_yaml(), encoding="utf-8")
