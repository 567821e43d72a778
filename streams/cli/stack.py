"""`npo up`, `down`, `status`."""

import asyncio

from aiokafka.errors import KafkaError
from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from schemas.errors import StackError
from schemas.headers import rfc3339
from schemas.settings import Deployment
from schemas.topics import ALIGNMENT, CONTROL, MODEL
from streams import admin, stack
from streams.home import StackState, declared, without_password
from streams.logs.reading import partition_counts
from streams.readiness import GroupState, count_behind, group_states
from streams.serving.commanded import read_forces
from streams.serving.following import follow
from streams.serving.force import ALL_SCOPES, Force
from streams.serving.letters import Letters, read_letters
from streams.serving.tally import Tally
from streams.topology import TOPOLOGY

FAULT = 1
GOOD = {"running", "stopped"}


class Report(Struct):
    """What `npo status` shows.

    Attributes:
        broker: Kafka's address.
        redis: Redis' address, where it is known.
        stack: The stack of this machine, None where the servers are others'.
        topics: Topics of this deployment that exist.
        groups: State of each task group.
        in_force: What people have commanded, and who, by scope, `*` for all scopes; a scope where nothing is in force is absent.
        models: The model in force by scope; a scope that is not named is under the profile's initial one.
        alarms: Alarms that are raised, by scope and name; a scope without any is absent.
        letters: Dead letters by the topic that they come from; a topic without any is absent.
    """

    broker: str
    redis: str | None
    stack: StackState | None
    topics: int
    groups: list[GroupState]
    in_force: dict[str, Force]
    models: dict[str, str]
    alarms: dict[str, dict[str, str]]
    letters: dict[str, Letters]

    @property
    def sound(self) -> bool:
        """Whether every process runs and every partition has a worker."""
        processes = self.stack.processes if self.stack else []
        return all(group.ready for group in self.groups) and all(process.condition in GOOD for process in processes)


def up(*, workers: int = 1, foreground: bool = False, json: bool = False) -> int:
    """Start Kafka, Redis, topics, workers, read model and the operator's page, and return when everything is at work.

    Servers that NPO_BROKER and NPO_REDIS name are used; the others are started here, on free ports of 127.0.0.1. Everything is kept in
    NPO_HOME (`.npo`) and outlives `npo down`.

    Args:
        workers: Worker processes of each task group.
        foreground: Stay until Ctrl-C or SIGTERM instead of running on behind.
        json: Print the stack as JSON.
    """
    console = Console()
    if foreground:
        stack.supervise(
            workers, ready=lambda running: console.print(f"running: Kafka {running.broker}, Redis {without_password(running.redis or '')}")
        )
        return 0
    with Console(stderr=True).status("starting"):
        state, new = stack.up(workers)
    if json:
        console.print_json(data=to_builtins(state))
    else:
        console.print(f"{'started' if new else 'already running'}: Kafka {state.broker}, Redis {state.redis}", soft_wrap=True)
        console.print(f"the page is at {state.console}", soft_wrap=True)
    return 0


def down(*, wipe: bool = False, json: bool = False) -> int:
    """End the stack, workers before servers; what Kafka holds stays for the next `npo up`.

    Args:
        wipe: Remove records, stores and logs.
        json: Print what was done as JSON.
    """
    with Console(stderr=True).status("ending"):
        ended = stack.down(wipe=wipe)
    home = str(declared().home.resolve())
    if json:
        Console().print_json(data={"ended": ended, "wiped": wipe, "home": home})
    else:
        Console().print(
            f"{'ended' if ended else 'no stack was running'} in {home}{', and wiped' if wipe else ''}", markup=False, soft_wrap=True
        )
    return 0


def status(*, json: bool = False) -> int:
    """Show processes, how far behind each group is, what is in force by whom, and dead letters; 1 where something is not at work.

    Args:
        json: Print it as JSON.
    """
    deployment = stack.connect()
    report = asyncio.run(inspect(deployment))
    if json:
        Console().print_json(data=to_builtins(report) | {"sound": report.sound})
    else:
        show(report, Console())
    return 0 if report.sound else FAULT


async def inspect(deployment: Deployment) -> Report:
    """Ask broker and state file how the deployment is.

    Raises:
        StackError: the broker does not answer.
    """
    try:
        async with admin.open_admin(deployment) as client:
            states = await group_states(deployment, client, TOPOLOGY)
            counts = await partition_counts(deployment)
            await count_behind(deployment, client, TOPOLOGY, states)
        # What does not exist yet has said nothing.
        in_force = await read_forces(deployment) if CONTROL.name in counts else {}
        models = await models_in_force(deployment) if MODEL.name in counts else {}
        alarms = await alarms_raised(deployment) if ALIGNMENT.name in counts else {}
        letters = await read_letters(deployment)
    except KafkaError as error:
        raise StackError(f"the broker at {deployment.broker} does not answer: {error}; `npo down` and `npo up` start it anew") from error
    state = stack.find(deployment.home)
    own = state if state is not None and state.broker == deployment.broker else None
    redis = without_password(deployment.redis or "") or None
    return Report(deployment.broker or "", redis, own, len(counts), states, in_force, models, alarms, letters)


async def models_in_force(deployment: Deployment) -> dict[str, str]:
    """Read each scope's model from the model topic."""
    return {told.event.scope: told.event.id async for batch in follow(deployment, [MODEL.name]) for told in batch}


async def alarms_raised(deployment: Deployment) -> dict[str, dict[str, str]]:
    """Read the alarms that are raised from the alignment topic."""
    tally = Tally()
    async for batch in follow(deployment, [ALIGNMENT.name]):
        for told in batch:
            tally.add(told.topic, told.event)
    return {name: scope.alarms for name, scope in sorted(tally.scopes.items()) if scope.alarms}


def show(report: Report, console: Console) -> None:
    """Print a report."""
    state = report.stack
    console.print(f"Kafka {report.broker}, {report.topics} topics; Redis {report.redis or 'not known'}", soft_wrap=True)
    if state is not None:
        console.print(
            f"stack {state.phase} since {rfc3339(state.started_ms)}, process {state.pid}; the page is at {state.console}", soft_wrap=True
        )
        processes = Table("process", "condition", "pid", "restarts", "exit code", "health", box=None)
        for process in state.processes:
            style = None if process.condition in GOOD else "red"
            code = "" if process.exit_code is None else str(process.exit_code)
            processes.add_row(process.name, process.condition, str(process.pid), str(process.restarts), code, process.health, style=style)
        console.print(processes)
    groups = Table("group", "state", "workers", "partitions", "behind", box=None)
    for group in report.groups:
        behind = f"{group.behind:,}" if group.exact else f"about {group.behind:,}"
        partitions = f"{group.assigned} of {group.partitions}"
        groups.add_row(group.group, group.state, str(group.members), partitions, behind, style=None if group.ready else "red")
    console.print(groups)
    for scope, force in sorted(report.in_force.items()):
        where = "all scopes" if scope == ALL_SCOPES else scope
        for what, told in force.parts():
            why = f" ({told.reason})" if told.reason else ""
            console.print(
                f"{where}: {what} by {told.by} at {rfc3339(told.time_ms)[:19]}{why}", style="yellow", markup=False, soft_wrap=True
            )
    for scope, model in sorted(report.models.items()):
        console.print(f"{scope}: model {model}", markup=False)
    for scope, alarms in report.alarms.items():
        for name, detail in alarms.items():
            console.print(f"{scope}: alarm {name}: {detail}", style="yellow", markup=False, soft_wrap=True)
    for topic, letters in report.letters.items():
        count = f"{letters.count:,}" if letters.exact else f"about {letters.count:,}"
        latest = f"the latest {letters.reason} at {rfc3339(letters.time_ms)[:19]}: {letters.detail}"
        console.print(f"{topic}: {count} dead letters, {latest}", style="yellow", markup=False, soft_wrap=True)
