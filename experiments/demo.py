"""`npo demo`: the whole pipeline on this machine, over simulated servers, with operators as a process of their own."""

import asyncio
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live

from experiments import picture, screen
from experiments.feed import Feed, send
from experiments.operators import Behaviour
from experiments.watching import Watch, watch
from experiments.world import DAY_MS, FROZEN_SCOPE, MINUTE_MS, SCOPE, START_MS, STEP_MS, World, longer
from schemas.errors import StackError
from schemas.settings import DEPLOY, Catalogue, Deployment, Profile, read_yaml
from streams.embedded import Child, start_child
from streams.home import declared, find
from streams.stack import environment, running_stack

PACE = 4500.0
SHOWN_S, PRINTED_S = 0.25, 5.0
STANDSTILL_S_MAX = 60.0
SETTLED_S_MAX = 30.0
# With --keep: so slowly, a person can answer; for so long there, 20 hours here.
KEPT_PACE, KEPT_H = 12.0, 240.0
FILES = {
    "policy": DEPLOY / "policies" / "default.yaml",
    "catalogue": DEPLOY / "demo" / "catalogue.yaml",
    "scopes": DEPLOY / "demo" / "scopes.yaml",
}


class Plan(msgspec.Struct, frozen=True):
    """How long events happen, and how many scenarios make a window of alignment loss."""

    busy_h: float
    window_scenarios: int


LONG, SHORT = Plan(118, 200), Plan(20, 60)


def demo(*, short: bool = False, keep: bool = False, seed: int = 0, json: bool = False) -> int:
    """Run the pipeline over simulated servers and operators for about two minutes: what learning from overrides changes.

    Kafka and Valkey run as children of this process, in `demo/stack` of NPO_HOME; picture and numbers are written beside it.
    The same servers with the same faults are there twice: in scope `shop` answers teach the pipeline, in `shop-frozen` its
    learning is off by setting. Operators are a process that uses the recommendation, feedback and outcome topics alone.

    Args:
        short: Half a minute and some hundred scenarios instead of a few thousand.
        keep: Leave everything running with the operator's page open until Ctrl-C: telemetry goes on slowly, and nobody answers but you.
        seed: Seed of servers, faults and operators.
        json: Print the numbers as JSON instead of tables.

    Raises:
        StackError: The pipeline does not come up, or stands still.
    """
    plan = SHORT if short else LONG
    world = World(seed, plan.busy_h)
    home = declared().home / "demo"
    if find(home / "stack") is None:
        shutil.rmtree(home / "stack", ignore_errors=True)
    profile = _write_profile(home / "profile.yaml", plan)
    console = Console(stderr=json)
    feed, seen = Feed(world), Watch()
    _say_hello(console, world)
    # As Ctrl-C does, so that the children end in order.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    begun_s = time.monotonic()
    # Its own servers, whatever the environment names: simulated telemetry has no place on others.
    declared_here: dict[str, Any] = {"broker": None, "redis": None, "profile": profile, "seed": 0, **FILES}
    stack = running_stack(home / "stack", **declared_here)
    with stack as deployment, _no_second_interrupt():
        page = _page(home / "stack")
        console.print(
            f"Kafka, Valkey, topics and workers are up after {time.monotonic() - begun_s:.1f} s; the operator's page is at {page}\n"
        )
        with _start_operators(deployment, world, home / "operators.log") as operators:
            asyncio.run(_run(deployment, feed, seen, operators, console))
        _report(console, feed, seen, home, json=json)
        if keep:
            _say_kept(console, page)
            with suppress(KeyboardInterrupt):
                asyncio.run(_go_on(deployment, world))
    return 0


async def _go_on(deployment: Deployment, world: World) -> None:
    """Send what comes after the world's quiet end, slowly, until cancelled."""
    seen, feed = Watch(), Feed(longer(world, KEPT_H), step=world.steps)
    await asyncio.gather(watch(deployment, seen), send(deployment, feed, KEPT_PACE, seen.decided_ms))


def _page(home: Path) -> str:
    """Return the address of the operator's page of a stack."""
    state = find(home)
    return state.console if state else ""


def _say_kept(console: Console, page: str) -> None:
    console.print(
        f"\nThe operator's page stays open at {page}/queue. A minute here is {KEPT_PACE:.0f} minutes there; the simulated operators have "
        "gone, so what is surfaced from now on waits for you. Ctrl-C ends it.",
        highlight=False,
    )


async def _run(deployment: Deployment, feed: Feed, seen: Watch, operators: Child, console: Console) -> None:
    """Send telemetry, fold what comes of it, and show it, until everything has been decided and closed."""
    tasks = [asyncio.create_task(watch(deployment, seen)), asyncio.create_task(send(deployment, feed, PACE, seen.decided_ms))]

    def check() -> None:
        operators.raise_if_ended()
        for task in tasks:
            if task.done():
                task.result()

    try:
        await _show(feed, seen, check, console)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _show(feed: Feed, seen: Watch, check: Callable[[], None], console: Console) -> None:
    """Show the numbers until everything is settled.

    `check` raises what has gone wrong elsewhere.

    Raises:
        StackError: nothing has moved for a minute.
    """
    rates: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=12)
    moved_s, moved, printed_s, sent_all_s = time.monotonic(), (0, 0), 0.0, 0.0
    with Live(console=console, auto_refresh=False, transient=True) as view:
        while True:
            await asyncio.sleep(SHOWN_S)
            now_s = time.monotonic()
            check()
            if (state := (feed.step, seen.decided_ms())) != moved:
                moved_s, moved = now_s, state
            elif now_s - moved_s > STANDSTILL_S_MAX:
                raise StackError(f"the pipeline stands still since {STANDSTILL_S_MAX:.0f} s; the logs beside the stack's records tell why")
            rates.append((now_s, seen.tally.total().samples))
            rate = (rates[-1][1] - rates[0][1]) / max(rates[-1][0] - rates[0][0], SHOWN_S)
            if console.is_terminal:
                view.update(screen.live(feed, seen, rate), refresh=True)
            elif now_s - printed_s > PRINTED_S:
                console.print(screen.plain(feed, seen, rate), soft_wrap=True, highlight=False)
                printed_s = now_s
            if feed.done:
                sent_all_s = sent_all_s or now_s
                if seen.settled or now_s - sent_all_s > SETTLED_S_MAX:
                    return


def _report(console: Console, feed: Feed, seen: Watch, home: Path, *, json: bool) -> None:
    """Print table, sentences and what to try next; write picture and numbers."""
    courses = list(seen.courses.values())
    world, error = feed.world, Behaviour().error
    title = f"Simulated servers, faults and operators: 2 × {world.servers} servers, {world.busy_h / 24:.1f} days, with learning and without"
    picture.draw(courses, world.busy_ms, world.turn_ms, error, title, home / "run.png")
    numbers = {
        "simulated": True,
        "seed": world.seed,
        "servers_per_scope": world.servers,
        "samples": feed.sent,
        "settled": seen.settled,
        "dead_letters": dict(seen.dead),
        "scopes": {name: tally.as_json() for name, tally in seen.tally.scopes.items()},
        "retrainings": {name: _retrainings(seen, name) for name in seen.courses},
        "sentences": [picture.overrides_sentence(courses), picture.loss_sentence(courses)],
    }
    written = msgspec.json.format(msgspec.json.encode(numbers))
    (home / "run.json").write_bytes(written)
    if json:
        sys.stdout.write(written.decode() + "\n")
        return
    console.print(screen.last(seen))
    console.print()
    console.print(screen.retrainings(seen, world.busy_ms))
    console.print()
    for sentence in screen.sentences(feed, seen, courses):
        console.print(f"- {sentence}", highlight=False)
    console.print(f"\npicture {home / 'run.png'}\nnumbers {home / 'run.json'}", highlight=False, soft_wrap=True)
    console.print(screen.next_steps(home / "stack", FILES | {"profile": home / "profile.yaml"}), highlight=False, soft_wrap=True)


def _retrainings(seen: Watch, scope: str) -> list[dict[str, Any]]:
    """Return a scope's results as plain data, without their models, with what each brought."""
    results = seen.courses[scope].retrainings
    return [
        {
            "day": (result.time_ms - START_MS) / DAY_MS,
            "status": result.status,
            "reason": result.reason,
            "model": result.model.id if result.model else None,
            "evaluation": msgspec.to_builtins(result.evaluation),
            "brought": msgspec.to_builtins(came),
        }
        for result, came in zip(results, seen.brought(scope), strict=True)
    ]


def _say_hello(console: Console, world: World) -> None:
    behaviour = Behaviour()
    roster = read_yaml(FILES["catalogue"], Catalogue).operators
    console.print(
        f"Everything here but the pipeline is simulated: {world.servers} servers, with faults and with harmless work that looks unusual, "
        f"twice: in scope {SCOPE} answers teach the pipeline, in scope {FROZEN_SCOPE} its learning is off. {len(roster)} operators err in "
        f"{behaviour.error:.0%} of their answers, leave {behaviour.silence:.0%} of the recommendations unanswered, and review "
        f"{behaviour.reviewed:.0%} of all time afterwards. A second here is {PACE * 1000 / MINUTE_MS:.0f} minutes there, "
        f"{world.steps * STEP_MS / DAY_MS:.1f} days in all. Ctrl-C ends it.",
        highlight=False,
    )


def _write_profile(path: Path, plan: Plan) -> Path:
    """Write the default profile with windows of the demo's size."""
    default = read_yaml(DEPLOY / "profiles" / "default.yaml", Profile)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.yaml.encode(msgspec.structs.replace(default, window_scenarios=plan.window_scenarios)))
    return path


def _start_operators(deployment: Deployment, world: World, log: Path) -> Child:
    told = {"--hours": world.busy_h, "--seed": world.seed, "--pace": PACE}
    command = [sys.executable, "-m", "streams.cli", "operators", *(str(part) for option in told.items() for part in option)]
    return start_child("operators", command, log, environment=environment(deployment))


@contextmanager
def _no_second_interrupt() -> Iterator[None]:
    """Let no second Ctrl-C break off what the first one has begun to end."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise
