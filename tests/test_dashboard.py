"""Dashboard and alert rules: a running pipeline tells all that they ask for; each alert fires, keeps quiet, and has a remedy."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agents.deciding import budget, quarantine
from schemas import codecs
from schemas.alignment import Alarm
from schemas.events import Command, Control, Sample
from schemas.identity import partition_of
from schemas.settings import DEPLOY, Deployment
from streams import admin
from streams.dashboard import grafana
from streams.dashboard.panels import ROWS, Panel, Query
from streams.embedded import Kafka, Valkey, start_child
from streams.embedded.children import free_ports
from streams.groups import plan_topics
from streams.logs.sending import open_sender
from streams.stack import environment
from streams.topology import TOPOLOGY
from tests.deciding.logs import START_MS
from tests.deciding_worker import PARTITIONS, make, send_scenarios, unusual

ROOT = Path(__file__).resolve().parent.parent
PROMETHEUS = DEPLOY / "prometheus"
PATIENCE_S = 90.0
PANELS = [panel for row in ROWS for panel in row.panels]
# What Prometheus itself adds, and what it tells of the alerts.
TARGET = {"job", "instance"}
ALERTS = {"alertname", "alertstate", "severity", "scope", "group"}
# Names of alarms are the pipeline's own: a rule that waits for another one waits for ever.
ALARMS = (budget.ALARM, quarantine.ALARM, "closing_failed", "revocation_failed", "overrides_rise")
# By metric, each label with its values.
Exposed = dict[str, dict[str, set[str]]]


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    document = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def concrete(expression: str) -> str:
    """Return an expression with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "5m").replace("$scope", ".*")


def expressions() -> Iterator[tuple[str, str]]:
    """Give every expression of dashboard and alert rules, and what asks for it."""
    yield from ((panel.title, concrete(query.expression)) for panel in PANELS for query in panel.queries)
    yield from ((rule["alert"], rule["expr"]) for rule in rules())
    # What the dashboard lets one choose of: `label_values(SELECTOR, LABEL)` is no PromQL.
    for selector, label in re.findall(r"label_values\((.+), (\w+)\)", json.loads(grafana.document())["templating"]["list"][1]["query"]):
        yield "scope", f"count by ({label}) ({selector})"


def nodes(expression: Any) -> list[Any]:  # noqa: ANN401 - a node of the parser's
    """Return all nodes of an expression."""
    found: list[Any] = []
    promql_parser.walk(expression, found.append)
    return found


def metrics(expression: Any) -> list[str]:  # noqa: ANN401 - a node of the parser's
    """Return the metrics that an expression asks for; a pattern of names is one for each of its alternatives."""
    named = []
    for node in nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            names = [node.name] if node.name else [matcher.value for matcher in node.matchers.matchers if matcher.name == "__name__"]
            prefix, _, choice = names[0].rstrip(")").partition("(")
            named += [f"{prefix}{each}" for each in choice.split("|")]
    return named


def faults(expression: str, exposed: Exposed) -> Iterator[str]:
    """Say which metrics, labels and values of an expression nobody tells."""
    for node in nodes(promql_parser.parse(expression)):
        match node:
            case promql_parser.VectorSelector():
                for name in metrics(node):
                    if name not in exposed:
                        yield f"{name} is no metric"
                        continue
                    for matcher in node.matchers.matchers:
                        values = exposed[name].get(matcher.name)
                        if matcher.name != "__name__" and values is None:
                            yield f"{name} has no label {matcher.name}"
                        elif matcher.op == promql_parser.MatchOp.Equal and values is not None and matcher.value not in values:
                            yield f"{name} is never told with {matcher.name}={matcher.value}"
            case promql_parser.AggregateExpr() if node.modifier is not None:
                yield from unknown(node.modifier.labels, metrics(node.expr), exposed)
            case promql_parser.BinaryExpr() if node.modifier is not None and node.modifier.matching is not None:
                yield from unknown(node.modifier.matching.labels, metrics(node.lhs), exposed)
                yield from unknown(node.modifier.matching.labels, metrics(node.rhs), exposed)


def unknown(labels: list[str], names: list[str], exposed: Exposed) -> Iterator[str]:
    """Say which labels none of the metrics has; of those that do not exist nothing more is said."""
    names = [name for name in names if name in exposed]
    known = TARGET.union(*(exposed[name] for name in names))
    yield from (f"none of {', '.join(names)} has a label {label}" for label in labels if names and label not in known)


def scraped(addresses: list[str]) -> Exposed:
    """Return what processes tell Prometheus at this moment; one that does not listen yet tells nothing."""
    exposed: Exposed = {"ALERTS": {label: set() for label in ALERTS} | {"alertstate": {"firing"}}}
    for address in addresses:
        try:
            with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:  # noqa: S310 - on loopback
                text = answer.read().decode()
        except OSError:
            continue
        for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
            labels = exposed.setdefault(sample.name, {label: set() for label in TARGET})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return exposed


async def fill(deployment: Deployment) -> None:
    """Give the pipeline something to tell: a sample, windows of decisions, alarms that are raised, a scope that is killed."""
    await admin.ensure(
        deployment, plan_topics(TOPOLOGY, PARTITIONS, application=deployment.application, prefix=deployment.topic_prefix, keep=True)
    )
    await send_scenarios(deployment, [unusual(number) for number in range(12)])
    async with open_sender(deployment) as sender:
        sample = Sample("web-3", START_MS, {"cpu_usage": 41.5}, "shop")
        await sender.send("telemetry", partition_of(b"web-3", PARTITIONS), b"web-3", codecs.encode(sample), ())
        for name in ALARMS:
            event = Alarm(name, "web", START_MS, name, True, "made up", {})  # noqa: FBT003 - fields in their order
            await sender.send("alignment", partition_of(b"web", PARTITIONS), b"web", codecs.encode(event), ())
        control = Control(Command.KILL, START_MS, "me", "web")
        await sender.send("control", partition_of(b"web", PARTITIONS), b"web|kill|", codecs.encode(control), ())


@pytest.mark.timeout(300)  # six processes, on a machine that may be busy
def test_everything_asked_for_is_told(kafka: Kafka, valkey: Valkey, unique_name: str, tmp_path: Path) -> None:
    """A running pipeline tells each metric, label and value in dashboard and alert rules; docs/monitoring.md lists all that it tells."""
    profile = tmp_path / "profile.yaml"
    default = yaml.safe_load((DEPLOY / "profiles" / "default.yaml").read_text(encoding="utf-8"))
    profile.write_text(yaml.safe_dump(default | {"window_scenarios": 4}), encoding="utf-8")
    deployment = make(kafka, unique_name, tmp_path, redis=valkey.url, profile=profile)
    asyncio.run(fill(deployment))
    modules = [*(("streams.engine.worker", group.name) for group in TOPOLOGY), ("streams.serving.publisher",), ("streams.console.server",)]
    ports = free_ports(len(modules))
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    with ExitStack() as running:
        for number, (module, port) in enumerate(zip(modules, ports, strict=True)):
            place = {"home": tmp_path / str(number), "console_port" if "console" in module[0] else "health_port": port}
            given = environment(deployment.model_copy(update=place))
            child = start_child("-".join(module), [sys.executable, "-m", *module], tmp_path / f"{number}.log", environment=given)
            running.callback(child.stop, PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while (missing := all_faults(scraped(addresses))) and time.monotonic() < deadline:
            time.sleep(1)
        exposed = scraped(addresses)
    assert missing == []
    assert page_metrics() == {name for name in map(family, exposed) if name.startswith("npo_")}


def page_metrics() -> set[str]:
    """Return the metrics that docs/monitoring.md lists."""
    rows = re.findall(r"^\| (`npo_.+?) \|", (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def family(name: str) -> str:
    """Return what a sample's metric is called as a whole: a histogram is told in three."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


def all_faults(exposed: Exposed) -> list[str]:
    """Say what of all expressions nobody tells."""
    return sorted({f"{who}: {fault}" for who, expression in expressions() for fault in faults(expression, exposed)})


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum by (group) (npo_tasks)", None),
        ("sum by (group) (npo_task)", "npo_task is no metric"),
        ("sum by (groups) (npo_tasks)", "none of npo_tasks has a label groups"),
        ('rate(npo_tasks{topic="a"}[5m])', "npo_tasks has no label topic"),
        ('npo_tasks{group="decoding"}', "npo_tasks is never told with group=decoding"),
        ("npo_tasks and on (scope) npo_tasks", "none of npo_tasks has a label scope"),
    ],
)
def test_faults_are_found(expression: str, fault: str | None) -> None:
    """A misspelt metric, label or value is found: that none is found in ours says something."""
    found = set(faults(expression, {"npo_tasks": {"group": {"deciding"}}}))
    assert found == ({fault} if fault else set())


def test_dashboard_is_what_the_code_writes() -> None:
    """The file in deploy/grafana is what the generator writes: `python -m streams.dashboard` after a change of the panels."""
    assert (DEPLOY / "grafana" / "npo.json").read_text(encoding="utf-8") == grafana.document()


def test_every_panel_says_what_it_shows() -> None:
    """Each panel has a title and queries of its own, a unit, a description, and legends of labels that its queries keep."""
    assert len({panel.title for panel in PANELS}) == len(PANELS)
    asked = [query.expression for panel in PANELS for query in panel.queries]
    assert len(set(asked)) == len(asked)
    for panel in PANELS:
        assert panel.unit
        assert panel.description.endswith(".")
        for query in panel.queries:
            assert set(re.findall(r"{{(\w+)}}", query.legend)) <= kept(query), panel.title
            assert query.legend or panel.kind in {"table", "stat"}, panel.title


def kept(query: Query) -> set[str]:
    """Return the labels that the series of a query have for certain."""
    labels = {"instance"} if "(job, instance)" in query.expression else set()
    return labels.union(*(re.split(", ", found) for found in re.findall(r"(?:by|group_left) \(([^)]+)\)", query.expression)))


def test_panels_fill_their_lines() -> None:
    """No panel lies over another or beyond the edge, and none has the number of another."""
    panels = json.loads(grafana.document())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_dashboard_draws_every_panel() -> None:
    """Each panel of the table is in the dashboard, with its queries, unit and description."""

    def seen(panel: Panel) -> tuple[str, str, str, list[str]]:
        return panel.title, panel.unit, panel.description, [query.expression for query in panel.queries]

    drawn = [
        (panel["title"], panel["fieldConfig"]["defaults"]["unit"], panel["description"], [target["expr"] for target in panel["targets"]])
        for panel in json.loads(grafana.document())["panels"]
        if panel["type"] != "row"
    ]
    assert drawn == [seen(panel) for panel in PANELS]


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' own checker."""
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("no promtool: the package `prometheus` of the system has it")
    return path


@pytest.mark.timeout(300)  # a day of alerts, minute by minute, on a machine that may be busy
@pytest.mark.parametrize("check", ["check rules alerts.yaml", "test rules alerts_test.yaml", "check config prometheus.yaml"])
def test_prometheus_takes_the_files(promtool: str, check: str) -> None:
    """Prometheus' own tool takes rules and configuration, and each alert fires and keeps quiet where its test says so."""
    checked = subprocess.run([promtool, *check.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_has_two_cases() -> None:
    """Each alert is tested with a case in which it fires and one in which it does not."""
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    looks = [look for case in cases for look in case["alert_rule_test"]]
    for alert in (rule["alert"] for rule in rules()):
        assert {bool(look.get("exp_alerts")) for look in looks if look["alertname"] == alert} == {True, False}, alert


def test_every_alert_has_a_remedy() -> None:
    """docs/monitoring.md has each alert and no other, and each rule says what is wrong and how urgent it is."""
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    # In the order of the rules.
    assert re.findall(r"^\| `(Npo\w+)` \|", page, re.MULTILINE) == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_missing_groups_are_those_of_the_topology() -> None:
    """The alert on a group without workers asks for each group."""
    (rule,) = (rule for rule in rules() if rule["alert"] == "NpoGroupMissing")
    assert re.findall(r'group="(\w+)"', rule["expr"]) == [group.name for group in TOPOLOGY]


def test_prometheus_finds_the_stack() -> None:
    """Prometheus' configuration asks the services of the compose file that tell metrics, at the ports where they do."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = {name: found["port"] for job in jobs for found in job["dns_sd_configs"] for name in found["names"]}
    ours = {name: service for name, service in services.items() if service["image"] == "npo:latest" and name != "topics"}
    assert asked.keys() == ours.keys()
    for name, port in asked.items():
        given = ours[name]["environment"]
        assert str(port) == str(given["NPO_CONSOLE_PORT" if name == "console" else "NPO_HEALTH_PORT"])
        assert given["NPO_CONSOLE_HOST" if name == "console" else "NPO_HEALTH_HOST"] == "0.0.0.0"  # noqa: S104 - what is asserted
