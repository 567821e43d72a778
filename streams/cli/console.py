"""`npo console`."""

from rich.console import Console

from streams.console.server import run_console
from streams.home import connect


def console(*, json: bool = False) -> int:
    """Serve the operator's page and the HTTP API until Ctrl-C or SIGTERM.

    Broker and read model are those of NPO_BROKER and NPO_REDIS, else those of the stack in NPO_HOME, which serves a page of its own.
    Listens on NPO_CONSOLE_HOST (127.0.0.1) and NPO_CONSOLE_PORT (8470; 0 is a free one).

    Args:
        json: Print the address as JSON.
    """
    screen = Console()

    def ready(address: str) -> None:
        if json:
            screen.print_json(data={"console": address})
        else:
            screen.print(f"the page is at {address}", soft_wrap=True)

    run_console(connect(), ready)
    return 0
