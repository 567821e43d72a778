"""What follows from a topology: its topics, and its descriptions."""

import json

from schemas.topics import physical
from streams.groups import changelog, describe, mermaid, plan_topics
from tests.engine.toy import TOPOLOGY


def test_every_topic_that_a_topology_needs_is_planned_once() -> None:
    """Inputs with their dead letters, outputs, the merge order and one changelog a group, all with the same partitions."""
    plans = plan_topics(TOPOLOGY, 3, application="app", prefix="x.")
    names = [plan.name for plan in plans]
    inputs = {"alpha", "beta", "control", "single"}
    topics = inputs | {f"{name}.dlq" for name in inputs} | {"out", "merge"}
    assert sorted(names) == sorted([physical(name, "x.") for name in topics] + ["app-pair-toys-changelog", "app-lone-toys-changelog"])
    assert {plan.partitions for plan in plans} == {3}


def test_only_changelogs_are_compacted_and_all_have_the_brokers_time() -> None:
    """Records with historic times are safe from retention, and state is never deleted by age."""
    changelogs = {changelog("npo", group) for group in TOPOLOGY}
    for plan in plan_topics(TOPOLOGY, 1):
        assert plan.config["message.timestamp.type"] == "LogAppendTime"
        assert plan.config["cleanup.policy"] == ("compact" if plan.name in changelogs else "delete")
        assert ("retention.ms" in plan.config) == (plan.name not in changelogs)


def test_a_group_of_one_topic_plans_no_merge_order() -> None:
    """The merge topic is for groups whose inputs meet."""
    assert "npo.merge.v1" not in {plan.name for plan in plan_topics(TOPOLOGY[1:], 1)}


def test_descriptions_name_every_part() -> None:
    """The data and the picture hold every group, agent, step and topic of the table."""
    data = json.loads(json.dumps(describe(TOPOLOGY)))
    assert data["pair"]["agents"]["first"] == {"reads": ["alpha", "control"], "step": "tests.engine.toy.step", "writes": ["out"]}
    assert data["lone"]["state"] == "toys"
    picture = mermaid(TOPOLOGY)
    for edge in ("alpha --> first", "control --> first", "beta --> second", "single --> only", "first --> topic-out", "only --> topic-out"):
        assert edge in picture
