"""Names of events and random draws from them: the same log gives the same names and the same draws."""

from hashlib import blake2b

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray

SEPARATOR = "\x1f"


def source_name(topic: str, partition: int, offset: int) -> str:
    """Name a record from outside that carries no `ce_id`: by its place in the log."""
    return f"{topic}-{partition}-{offset}"


def derived_name(parent: str, kind: str, ordinal: int = 0) -> str:
    """Name a derived record by its parent, kind and ordinal, never by its own offset: 16 hexadecimal digits."""
    return blake2b(SEPARATOR.join((parent, kind, str(ordinal))).encode(), digest_size=8).hexdigest()


class _Key(ISeedSequence):
    """A hash as Philox's key as it is; given as `key`, NumPy would first ask the system for a seed that it then does not use."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint64) -> NDArray[np.uint64]:  # noqa: ARG002  # Philox asks for two of 64 bits
        """Return the two words of the key."""
        return np.frombuffer(self._digest, "<u8")


def generator(seed: int, event: str, purpose: str) -> np.random.Generator:
    """Return the random generator of one event and purpose: Philox keyed by a hash of seed and names."""
    digest = blake2b(SEPARATOR.join((str(seed), event, purpose)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(_Key(digest)))  # type: ignore[arg-type]  # the stubs know of SeedSequence alone


def murmur2(key: bytes) -> int:
    """Return Kafka's murmur2 hash of a key, sign bit cleared, as the Java client's default partitioner computes it.

    Source: org.apache.kafka.common.utils.Utils.murmur2.
    """
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(key)
    state = (0x9747B28C ^ length) & mask
    whole = length - length % 4
    for start in range(0, whole, 4):
        word = (int.from_bytes(key[start : start + 4], "little") * multiplier) & mask
        word = ((word ^ (word >> 24)) * multiplier) & mask
        state = ((state * multiplier) & mask) ^ word
    if whole < length:
        state = ((state ^ int.from_bytes(key[whole:], "little")) * multiplier) & mask
    state = ((state ^ (state >> 13)) * multiplier) & mask
    return (state ^ (state >> 15)) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition in which Kafka's default partitioner puts a key."""
    return murmur2(key) % partitions
