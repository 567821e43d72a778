"""`npo report`: a page about an exported run."""

import json as json_text
from pathlib import Path

from rich.console import Console

from schemas.errors import LogFileError
from streams.explaining.words import printable
from streams.reporting.page import page
from streams.reporting.run import read_run
from streams.reporting.sentences import summary

FILE = "report.html"


def report(directory: Path, *, output: Path | None = None, json: bool = False) -> int:
    """Write a page about an exported run: one HTML file that needs no network, no script and no other file.

    The same log gives the same bytes. A file that is there is replaced.

    Args:
        directory: What `npo export` wrote.
        output: Where to; `report.html` in that directory if not given.
        json: Print the file's name, the summary and the counts as JSON.

    Raises:
        LogFileError: not a complete log, or the page cannot be written.
    """
    path = directory / FILE if output is None else output
    with Console(stderr=True).status("reading the log"):
        run = read_run(directory)
        written = page(run)
    write(path, written)
    if json:
        scopes = {name: scope.tally.as_json() for name, scope in run.scopes.items()}
        print(json_text.dumps({"file": str(path), "summary": summary(run), "scopes": scopes}))  # noqa: T201 - the command's result
    else:
        print("\n".join((*map(printable, summary(run)), f"\n{path}")))  # noqa: T201 - the same
    return 0


def write(path: Path, written: str) -> None:
    """Write a page, wholly or not at all.

    Raises:
        LogFileError: the file cannot be written.
    """
    temporary = path.with_name(f"{path.name}.partial")
    try:
        temporary.write_text(written, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        raise LogFileError(f"cannot write {path}: {error.strerror}; give another file with --output") from error
    finally:
        temporary.unlink(missing_ok=True)
