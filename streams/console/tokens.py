"""The tokens file: who may use the console, as what; made by `npo token`, read by the console at every change.

A token is 256 random bits, shown once; the file has its SHA-256 only. It is hashed without salt and without repetition: these guard
words that people choose, which can be guessed, and nobody guesses 256 random bits or has tables of their hashes.
"""

import os
import secrets
import tempfile
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from schemas.errors import SettingsError
from schemas.events import Name, TimeMs
from schemas.settings import Deployment
from streams.serving.answering import check_operator

# So that a token that has got into a file or a message is known as one.
PREFIX = "npo_"
TOKEN_BYTES = 32
FILE_MODE, WRITABLE_BY_OTHERS = 0o600, 0o022

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)


class Token(Struct, frozen=True, forbid_unknown_fields=True):
    """One token, without itself.

    Attributes:
        name: Of the person or program that has it: what the audit topic tells, and no other.
        role: What it may do.
        sha256: Of the token, hexadecimal.
        made_ms: When it was made.
        operator: The pseudonym that its answers and commands bear; None for viewers.
        team: The operator's team, where answers are to name it.
    """

    name: Name
    role: Role
    sha256: str
    made_ms: TimeMs
    operator: Name | None = None
    team: Name | None = None


def tokens_path(deployment: Deployment) -> Path:
    """Return where a deployment's tokens are."""
    return deployment.tokens or deployment.home / "tokens.json"


def make(name: str, role: Role, made_ms: int, operator: str | None = None, team: str | None = None) -> tuple[str, Token]:
    """Make a token.

    Args:
        name: Of the person or program.
        role: What it may do.
        made_ms: Now.
        operator: The pseudonym; a random one where who may answer is given none.
        team: The operator's team.

    Returns:
        The token itself, which is not kept anywhere, and what is kept of it.

    Raises:
        SettingsError: a name, pseudonym or team that cannot be one.
    """
    pseudonym = operator or (None if role == "viewer" else f"operator-{secrets.token_hex(4)}")
    if pseudonym is not None:
        check_operator(pseudonym)
    secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    token = Token(name, role, digest(secret), made_ms, pseudonym, team)
    try:
        return secret, msgspec.convert(msgspec.to_builtins(token), Token)
    except msgspec.ValidationError as error:
        raise SettingsError(f"not a token: {error}; give another {str(error).rpartition('$.')[2].rstrip('`') or 'name'}") from error


def digest(secret: str) -> str:
    """Return what is kept of a token."""
    # A header may have any bytes.
    return sha256(secret.encode(errors="surrogateescape")).hexdigest()


def find(tokens: list[Token], secret: str) -> Token | None:
    """Return what is kept of a token, None of one that is unknown."""
    wanted = digest(secret)
    return next((token for token in tokens if compare_digest(token.sha256, wanted)), None)


def read(path: Path) -> list[Token] | None:
    """Read a tokens file; None where there is none.

    Raises:
        SettingsError: it cannot be used, or others than its owner may write it.
    """
    try:
        mode = path.stat().st_mode
        if mode & WRITABLE_BY_OTHERS:
            raise SettingsError(f"{path} may be written by others than its owner (mode {mode & 0o777:o}); `chmod 600 {path}`")
        return msgspec.json.decode(path.read_bytes(), type=list[Token])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}; give the path of a file that this user may read") from error
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path} is no tokens file: {error}; make tokens with `npo token add`") from error


def write(path: Path, tokens: list[Token]) -> None:
    """Write a tokens file, whole or not at all, for its owner alone.

    Raises:
        SettingsError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), FILE_MODE)
                file.write(msgspec.json.format(msgspec.json.encode(tokens)) + b"\n")
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}; set NPO_TOKENS to a path that this user may write") from error
