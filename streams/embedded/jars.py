"""Apache Kafka's jars: fetched once per user, held to the digests of `kafka-jars.lock`."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import stamina

from schemas.errors import EmbeddedServerError

KAFKA_VERSION = "4.3.1"
# What Kafka's own distribution logs through, which its jar does not ask for: without it a broker that fails says nothing.
LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4")
LOCK = Path(__file__).with_name("kafka-jars.lock")
FETCHERS = 4


def kafka_jars(cache: Path | None = None) -> list[Path]:
    """Kafka's class path; what is missing in the cache is fetched first (44 MB), by one process at a time.

    Args:
        cache: Directory to keep the jars in; by default `NPO_CACHE`, else `~/.cache/npo`.

    Raises:
        EmbeddedServerError: A jar cannot be fetched, or differs from the lock.
    """
    if cache is None:
        cache = Path(os.environ.get("NPO_CACHE", "~/.cache/npo")).expanduser()
    locked = dict(line.split() for line in LOCK.read_text(encoding="utf-8").splitlines())
    directory = cache / f"kafka-{KAFKA_VERSION}"
    jars = [directory / _file_name(coordinate) for coordinate in locked]
    if not all(jar.exists() for jar in jars):
        _fetch_missing(list(locked), directory)
    for jar, digest in zip(jars, locked.values(), strict=True):
        _check(jar, digest)
    return jars


def write_lock() -> None:
    """Resolve Kafka's dependencies anew and write their digests to the lock; for a change of `KAFKA_VERSION`."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - slow, and needed by the first use on a machine only
    from jgo.parse import Coordinate  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch))
        kafka = Coordinate.parse(f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}")
        direct, transitive = context.resolver.resolve([context.create_dependency(replace(kafka, scope="compile"))])
        needed = direct + [dependency for dependency in transitive if dependency.scope in {"compile", "runtime"}]
        group, artifact, version = LOGGING
        jars = [dependency.artifact for dependency in needed] + [context.project(group, artifact).at_version(version).artifact()]
        lines = sorted(f"{jar.groupId}:{jar.artifactId}:{jar.version} {_digest(jar.resolve())}\n" for jar in jars)
    LOCK.write_text("".join(lines), encoding="utf-8")


def _fetch_missing(coordinates: list[str], directory: Path) -> None:
    """Fetch the jars that a directory lacks; a process that comes second waits, and then finds none missing."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock, ThreadPoolExecutor(FETCHERS) as fetchers:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [coordinate for coordinate in coordinates if not (directory / _file_name(coordinate)).exists()]
        list(fetchers.map(_fetch, missing, [directory] * len(missing)))


def _fetch(coordinate: str, directory: Path) -> None:
    """Fetch one jar into a directory; it appears there whole or not at all.

    Raises:
        EmbeddedServerError: Three tries failed.
    """
    from jgo.maven import MavenContext  # noqa: PLC0415 - slow, and needed by the first use on a machine only

    group, artifact, version = coordinate.split(":")
    try:
        for attempt in stamina.retry_context(on=(OSError, RuntimeError), attempts=3):
            with attempt, tempfile.TemporaryDirectory(dir=directory) as scratch:
                jar = MavenContext(repo_cache=Path(scratch)).project(group, artifact).at_version(version).artifact().resolve()
                shutil.move(jar, directory / _file_name(coordinate))
    except (OSError, RuntimeError) as error:
        message = f"cannot fetch {coordinate}: {error}; Kafka's jars come from Maven Central, once: make it reachable and start again"
        raise EmbeddedServerError(message) from error


def _check(jar: Path, digest: str) -> None:
    """Raise EmbeddedServerError if a jar is not the one of the lock."""
    if (found := _digest(jar)) != digest:
        message = f"{jar} has SHA-256 {found}, {LOCK.name} says {digest}; delete {jar.parent} and start again, to fetch it anew"
        raise EmbeddedServerError(message)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _file_name(coordinate: str) -> str:
    _, artifact, version = coordinate.split(":")
    return f"{artifact}-{version}.jar"
