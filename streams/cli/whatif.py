"""`npo replay DIR --profile P`: what another profile or policy would have done with a log, and what that would have cost."""

import json as json_text
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import structs, to_builtins
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from agents.whatif import Estimate, Side, WhatIf, verdict
from schemas.errors import SettingsError
from schemas.settings import DEPLOY, Policy, Profile, Settings, read_yaml
from streams.logs.files import Log
from streams.logs.whatif import notes, what_if
from streams.topology import TOPOLOGY

DECIDING = next(group for group in TOPOLOGY if group.name == "deciding")
PROFILES = DEPLOY / "profiles"


def settings_for(log: Log, profile: str | None, policy: Path | None) -> Settings:
    """Return the log's settings with another profile or policy in their place.

    Raises:
        SettingsError: no such file or profile, or one that cannot be used.
    """
    settings = log.manifest.settings
    if profile is not None:
        settings = structs.replace(settings, profile=read_yaml(profile_path(profile), Profile))
    return settings if policy is None else structs.replace(settings, policy=read_yaml(policy, Policy))


def profile_path(name: str) -> Path:
    """Return the file of a profile: a path, or the name of one that comes with the project.

    Raises:
        SettingsError: neither.
    """
    given, known = Path(name), PROFILES / f"{name}.yaml"
    if given.is_file() or known.is_file():
        return given if given.is_file() else known
    names = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
    raise SettingsError(f"no profile {name!r}; give the path of a YAML file, or one of {names}")


def called(settings: Settings, log: Log, without: str) -> str:
    """Say what is held against the log, as short as can be."""
    own = log.manifest.settings
    parts = [settings.profile.name] if settings.profile != own.profile else []
    parts += [f"policy {settings.policy.version}"] if settings.policy != own.policy else []
    parts += [f"without {without}"] if without else []
    return ", ".join(parts) or f"{own.profile.name} (the log's own)"


def show(log: Log, settings: Settings, without: str, advance: Callable[[], None], *, json: bool) -> int:
    """Print by scope what settings would have done and cost; the exit code is 0 also where the log cannot tell."""
    told, name = what_if(DECIDING, log, settings, without, advance), called(settings, log, without)
    said = notes(log, settings.profile)
    if json:
        scopes: dict[str, Any] = {scope: {**to_builtins(each), "verdict": verdict(each, name)} for scope, each in told.items()}
        print(json_text.dumps({"other": name, "notes": said, "scopes": scopes}))  # noqa: T201 - the command's result
        return 0
    tables = [part for scope, each in told.items() for part in (table(scope, each, name), Text(verdict(each, name)), Text())]
    Console().print(Group(*tables, Text("\n".join(said), style="dim")))
    return 0


def table(scope: str, told: WhatIf, name: str) -> Table:
    """Return one scope's figures: as logged, as the other settings would have it."""
    figures = Table("", "as logged", name, title=f"{scope}: {told.scenarios:,} scenarios", title_justify="left")
    for label, of in (
        ("surfaced per scenario", lambda side: f"{side.surfaced:.3f}"),
        ("overrides per answered", lambda side: shown(side.overrides_per_answered)),
        ("misses per scenario", lambda side: shown(side.missed)),
        ("cost per scenario", lambda side: shown(side.cost)),
    ):
        row: Callable[[Side], str] = of
        figures.add_row(label, row(told.logged), row(told.other))
    figures.add_row("difference in cost", "", shown(told.difference, "+.4f"))
    figures.add_row("decided otherwise", "", f"{told.differing:.1%}")
    figures.add_row("judged, in effect", f"{told.judged:,}, {told.effective:.0f}", f"{told.effective_differing:.0f} where they differ")
    figures.add_row("like none that was judged", f"{told.unsupported:.1%}", f"{told.unsupported_differing:.1%} where they differ")
    return figures


def shown(estimate: Estimate | None, form: str = ".4f") -> str:
    """Return an estimate with its 95 % interval."""
    if estimate is None:
        return "-"
    value = "?" if estimate.value is None else format(estimate.value, form)
    return f"{value} [{estimate.low:{form}}, {estimate.high:{form}}]"
