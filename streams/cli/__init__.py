"""The command line `npo`. Commands are imported when they are called, so that `npo --help` is quick.

Exit codes: 0 fine, 1 it found a fault, 2 wrong use.
"""

from importlib.metadata import entry_points, version

from cyclopts import App, CycloptsError
from rich.console import Console

from schemas.errors import NpoError

FAULT, WRONG_USE, INTERRUPTED = 1, 2, 130

# Name, where it is, what it does, under which heading it is listed.
COMMANDS = (
    ("up", "streams.cli.stack:up", "Start the stack: Kafka, Redis, topics, workers, read model.", "Stack"),
    ("down", "streams.cli.stack:down", "End the stack.", "Stack"),
    ("status", "streams.cli.stack:status", "Show processes, groups and what is in force.", "Stack"),
    ("doctor", "streams.cli.doctor:doctor", "Look for the likeliest mistakes of a deployment.", "Stack"),
    ("console", "streams.cli.console:console", "Serve the operator's page and the HTTP API.", "Stack"),
    ("worker", "streams.cli.worker:worker", "Run workers of task groups, for production.", "Stack"),
    ("topology", "streams.cli.topics:topology", "Show the system on one page.", "Stack"),
    ("topics", "streams.cli.topics:topics_app", "Compare or correct topics: plan, apply.", "Stack"),
    ("token", "streams.cli.tokens:token_app", "Who may use the console: add, list, remove.", "Stack"),
    ("play", "streams.cli.play:play", "Send telemetry from parquet files.", "Loop"),
    ("watch", "streams.cli.watch:watch", "Show live what is surfaced, answered and lost.", "Loop"),
    ("answer", "streams.cli.answers:answer", "Answer a recommendation.", "Loop"),
    ("why", "streams.cli.why:why", "Show everything that led to one decision.", "Loop"),
    ("control", "streams.cli.control:control_app", "Scopes, sources: kill, resume, freeze, shadow, reopen, revoke, release ...", "Loop"),
    ("model", "streams.cli.models:model_app", "Models of each scope: list, show, rollback, import.", "Loop"),
    ("export", "streams.cli.logs:export", "Write the topics to parquet files.", "Logs"),
    ("import", "streams.cli.logs:import_log", "Send exported topics to another Kafka.", "Logs"),
    ("replay", "streams.cli.logs:replay", "Run an exported log again and compare.", "Logs"),
    ("report", "streams.cli.report:report", "Write a page about an exported run.", "Logs"),
)


def make_app() -> App:
    """Return the application: the commands above, and those of the tables that are entry points `npo.commands`."""
    app = App(
        name="npo",
        help="Streaming recommendations that learn from operators' overrides.",
        version=version("npo-pipeline"),
        result_action="return_value",
    )
    for name, path, does, heading in COMMANDS:
        app.command(path, name=name, help=does, group=heading)
    for point in sorted(entry_points(group="npo.commands")):
        for name, path, does in point.load():
            app.command(path, name=name, help=does, group="Experiments")
    return app


def main(tokens: list[str] | None = None) -> int:
    """Run one command and return its exit code; a fault becomes one message on standard error."""
    errors = Console(stderr=True)
    try:
        result = make_app()(tokens, exit_on_error=False, print_error=True, error_console=errors)
    except CycloptsError:
        return WRONG_USE
    except NpoError as error:
        errors.print(f"npo: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return FAULT
    except KeyboardInterrupt:
        return INTERRUPTED
    return result if isinstance(result, int) else 0
