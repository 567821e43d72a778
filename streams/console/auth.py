"""Who asks, and what he may do.

With a tokens file every request to the API needs one of its tokens. Without, whoever reaches the console may do everything: so it
listens on a loopback address only, and takes only requests that name one, from no page but its own (a name that is bound anew to
127.0.0.1 gets a page no further, and neither does a form of another page).
"""

import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from schemas.errors import SettingsError
from schemas.settings import Deployment
from streams.console import tokens
from streams.console.problems import ProblemError
from streams.console.routes import DEPLOYMENT, Identity
from streams.console.tokens import Token

SCHEME = "Bearer"
ANYBODY = Identity("local", "admin")
CHALLENGE = {"WWW-Authenticate": SCHEME}
# What a proxy adds: behind one, everybody's requests come from this machine.
PROXIED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")

log = structlog.get_logger()


@dataclass
class TokensFile:
    """The tokens as their file has them, read again when it has changed.

    Attributes:
        path: The file.
        tokens: What it has; None where there has never been one.
        state: Of the file as it was read.
    """

    path: Path
    tokens: list[Token] | None = None
    state: tuple[int, ...] | None = None

    def current(self) -> list[Token] | None:
        """Return the tokens; None where there has never been a file: one that has gone lets nobody in.

        Raises:
            SettingsError: the file cannot be used.
        """
        state = file_state(self.path)
        if state != self.state:
            found = tokens.read(self.path)
            gone: list[Token] | None = None if self.tokens is None else []
            self.tokens, self.state = gone if found is None else found, state
        return self.tokens


TOKENS = web.AppKey("tokens", TokensFile)


def file_state(path: Path) -> tuple[int, ...] | None:
    """Return what changes with every change of a file; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; give the path of a file that this user may read") from error
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode


def open_tokens(deployment: Deployment) -> TokensFile:
    """Read the tokens of a console that is about to start.

    Raises:
        SettingsError: the file cannot be used, or there are no tokens and the console is to be reached from elsewhere.
    """
    file = TokensFile(tokens.tokens_path(deployment))
    if not file.current() and not is_loopback(deployment.console_host):
        raise SettingsError(
            f"NPO_CONSOLE_HOST={deployment.console_host} is no loopback address, and {file.path} has no tokens: whoever reached the "
            "console could do everything. Make tokens with `npo token add NAME --role ROLE`, or listen on 127.0.0.1"
        )
    return file


async def lifespan(application: web.Application) -> AsyncIterator[None]:
    """Hold the tokens of an application."""
    application[TOKENS] = open_tokens(application[DEPLOYMENT])
    yield


async def identify(request: web.Request) -> Identity:
    """Tell who asks.

    Raises:
        ProblemError: 401 without a token that is known; 403 where no tokens are, for a host or an origin that is not this machine's;
            503 while the tokens file cannot be used.
    """
    try:
        known = request.app[TOKENS].current()
    except SettingsError as error:
        log.error("the tokens file cannot be used, and nobody is let in", why=str(error))  # noqa: TRY400 - the message says all
        raise ProblemError(503, "the console's tokens file cannot be used; its log says why", "tokens") from error
    if known is None:
        check_is_local(request)
        return ANYBODY
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    token = tokens.find(known, secret.strip()) if scheme.lower() == SCHEME.lower() else None
    if token is None:
        said = "this token is not known (any more)" if scheme else "no token"
        raise ProblemError(401, f"{said}; send `Authorization: {SCHEME} TOKEN`, and make tokens with `npo token add`", "token", CHALLENGE)
    return Identity(token.name, token.role, token.operator, token.team, tokens=True)


def check_is_local(request: web.Request) -> None:
    """Check that a request was meant for this machine, and comes from no page but the console's own, and through no proxy.

    Raises:
        ProblemError: 403.
    """
    if proxied := next((name for name in PROXIED if name in request.headers), None):
        raise ProblemError(403, f"the request came through a proxy ({proxied}), from anybody: make tokens with `npo token add`", "proxy")
    host = request.headers.get("Host", "")
    if not is_loopback(host_of(host)):
        raise ProblemError(
            403,
            f"Host {host!r} is not this machine's: without tokens ask localhost; with tokens (`npo token add`) any name does",
            "host",
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() != f"{request.scheme}://{host}".lower():
        raise ProblemError(403, f"Origin {origin!r} is another page than http://{host}: without tokens only its own may ask", "origin")


def host_of(address: str) -> str:
    """Return the name or address in `name:port`; empty where there is none."""
    try:
        split = urlsplit(f"//{address}")
    except ValueError:
        return ""
    return (split.hostname or "") if split.netloc == address and split.username is None else ""


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address is this machine's own."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
