"""`npo token add|list|remove`: who may use the console, as what."""

import time
from typing import Annotated

from cyclopts import App, Parameter
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.errors import SettingsError
from schemas.headers import rfc3339
from streams.console.tokens import Role, make, read, tokens_path, write
from streams.home import declared

token_app = App(name="token", result_action="return_value")


@token_app.command
def add(name: str, *, role: Annotated[Role, Parameter()], operator: str | None = None, team: str | None = None, json: bool = False) -> int:
    """Make a token and print it, this once. From the first token on the console asks everybody for one.

    Args:
        name: Of the person or program that gets it: what the audit topic tells of it.
        role: viewer (sees everything), operator (answers, sends telemetry and outcomes too) or admin (commands too).
        operator: The pseudonym that its answers and commands bear everywhere else; a random one if not given. The same for several
            tokens of one person.
        team: The operator's team, if the catalogue of operators does not say it.
        json: Print it as JSON.

    Raises:
        SettingsError: there is a token of this name, or a name cannot be one.
    """
    path = tokens_path(declared())
    tokens = read(path) or []
    if any(token.name == name for token in tokens):
        raise SettingsError(f"there is a token of {name!r} already; `npo token remove` it, or give another name, e.g. {name + ' 2'!r}")
    secret, token = make(name, role, time.time_ns() // 1_000_000, operator, team)
    write(path, [*tokens, token])
    if json:
        Console().print_json(data={"token": secret, **shown(token)})
        return 0
    answers = f", answers as {token.operator}" if token.operator else ""
    Console(stderr=True).print(f"{token.role} {name}{answers}; it is not shown again:", markup=False, highlight=False, soft_wrap=True)
    print(secret)  # noqa: T201 - the command's result
    return 0


@token_app.command(name="list")
def list_tokens(*, json: bool = False) -> int:
    """List the tokens: name, role, pseudonym, team, and when they were made.

    Args:
        json: Print them as JSON.
    """
    path = tokens_path(declared())
    tokens = read(path) or []
    if json:
        Console().print_json(data=[shown(token) for token in tokens])
        return 0
    table = Table("name", "role", "operator", "team", "made", box=None)
    for token in tokens:
        table.add_row(Text(token.name), token.role, Text(token.operator or "-"), Text(token.team or "-"), rfc3339(token.made_ms)[:19])
    Console().print(table if tokens else f"no tokens in {path}; `npo token add` makes one")
    return 0


@token_app.command
def remove(name: str) -> int:
    """Remove a token: the console refuses it from the next request on.

    Args:
        name: Of the person or program that has it.

    Raises:
        SettingsError: there is no token of this name.
    """
    path = tokens_path(declared())
    tokens = read(path) or []
    left = [token for token in tokens if token.name != name]
    if len(left) == len(tokens):
        raise SettingsError(f"there is no token of {name!r} in {path}; `npo token list` shows all")
    write(path, left)
    alone = "" if left else f"; nobody has a token now, and nobody is let in: make one, or delete {path} to do without"
    Console().print(f"{name} is removed{alone}", markup=False, highlight=False, soft_wrap=True)
    return 0


def shown(token: object) -> dict[str, object]:
    """Return what may be shown of a token."""
    return {name: value for name, value in to_builtins(token).items() if name != "sha256"}
