"""`npo topology`, `npo topics plan|apply`."""

import asyncio

from cyclopts import App
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from schemas.settings import Deployment
from streams import admin, groups
from streams.admin import Difference
from streams.home import connect
from streams.stack import wanted_topics
from streams.topology import TOPOLOGY

FAULT = 1

topics_app = App(name="topics", result_action="return_value")


def topology(*, json: bool = False, mermaid: bool = False) -> int:
    """Show task groups, their agents, what each reads and writes.

    Args:
        json: Print it as JSON.
        mermaid: Print it as a Mermaid flowchart.
    """
    console = Console()
    if mermaid:
        console.out(groups.mermaid(TOPOLOGY), end="", highlight=False)
        return 0
    described = groups.describe(TOPOLOGY)
    if json:
        console.print_json(data=described)
        return 0
    for name, group in described.items():
        console.print(f"{name}: one task per partition, state {group['state']}")
        table = Table("agent", "reads", "writes", box=None)
        for agent, does in group["agents"].items():
            table.add_row(agent, ", ".join(does["reads"]), ", ".join(does["writes"]))
        console.print(table)
    return 0


@topics_app.command
def plan(*, json: bool = False) -> int:
    """Show where the topics differ from what they should be; exit code 1 where they do.

    Args:
        json: Print the differences as JSON.
    """
    deployment = connect()
    return report(asyncio.run(compare(deployment)), json=json, fine=f"the topics at {deployment.broker} are as they should be")


@topics_app.command
def apply(*, json: bool = False) -> int:
    """Create topics that are missing and correct settings; deletes nothing. Exit code 1 where something still differs.

    Args:
        json: Print what still differs as JSON.
    """
    deployment = connect()
    return report(asyncio.run(correct(deployment)), json=json, fine=f"the topics at {deployment.broker} are now as they should be")


async def compare(deployment: Deployment) -> list[Difference]:
    """Return what differs."""
    async with admin.open_admin(deployment) as client:
        return await admin.plan(client, wanted_topics(deployment))


async def correct(deployment: Deployment) -> list[Difference]:
    """Correct what differs, and return what still does."""
    async with admin.open_admin(deployment) as client:
        return await admin.apply(client, wanted_topics(deployment))


def report(differences: list[Difference], *, json: bool, fine: str) -> int:
    """Print differences and return the exit code."""
    console = Console()
    if json:
        console.print_json(data=[to_builtins(difference) | {"fixable": difference.fixable} for difference in differences])
    elif not differences:
        console.print(fine)
    else:
        table = Table("topic", "what", "wanted", "found", "remedy", box=None)
        for each in differences:
            remedy = "npo topics apply" if each.fixable else f"NPO_PARTITIONS={each.found}, or recreate the topic and its group's others"
            table.add_row(each.topic, each.name or each.what, each.wanted, each.found, remedy)
        console.print(table)
    return FAULT if differences else 0
