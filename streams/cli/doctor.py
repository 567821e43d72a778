"""`npo doctor`."""

import asyncio
import time

from msgspec import to_builtins
from rich.console import Console

from schemas.settings import load_settings
from streams.doctor import Examined, examine
from streams.home import connect

FAULT = 1
STYLES = {"fine": "green", "fault": "red", "not made": "yellow"}


def doctor(*, json: bool = False) -> int:
    """Look for the ten likeliest mistakes, and tell what to do about each; changes nothing, exit code 1 where one is found.

    Looks at the stack of this machine, or at NPO_BROKER, with the settings that NPO_* variables give this process.

    Args:
        json: Print it as JSON.
    """
    deployment = connect()
    settings = load_settings(deployment)
    with Console(stderr=True).status("looking"):
        found = asyncio.run(examine(deployment, settings, time.time_ns() // 1_000_000))
    if json:
        Console().print_json(data=to_builtins(found))
    else:
        show(found, Console())
    return FAULT if any(one.state == "fault" for one in found) else 0


def show(found: list[Examined], console: Console) -> None:
    """Print what came of each check."""
    for one in found:
        console.print(f"[{STYLES[one.state]}]{one.state:9}[/] {one.name}: {one.looks_at}", highlight=False, soft_wrap=True)
        lines = [one.why] if one.why else [line for finding in one.findings for line in (finding.found, f"→ {finding.remedy}")]
        for line in lines:
            console.print(f"{'':10}{line}", markup=False, highlight=False, soft_wrap=True)
