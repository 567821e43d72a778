"""What the pages say of files, commands, variables and events is so."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import yaml

from experiments.commands import COMMANDS
from schemas import codecs, topics
from schemas.alignment import LossWindow
from schemas.errors import RecordError
from schemas.settings import CatalogueAction, Deployment, Profile, Rule
from streams.cli import make_app
from streams.groups import mermaid, plan_topics
from streams.topology import TOPOLOGY

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(page for page in DOCS.rglob("*.md") if "node_modules" not in page.parts))
ENDINGS = "py|md|yaml|yml|toml|json|lock|png|svg"


def text_of(page: Path) -> str:
    """Return a page."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a language: what else the fence says, and the text."""
    return re.findall(rf"^```{language} ?(\S*)\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)


def code(page: Path) -> Iterator[str]:
    """Give the pieces of a page that are code in a line or lines of an indented block, without their comments."""
    for line in re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL).splitlines():
        if line.startswith("    "):
            yield line.partition(" #")[0].strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def command_lines() -> set[str]:
    """Return every call of `npo` that some page shows, without what stands before it."""
    found = {match[1] for page in PAGES for piece in code(page) if (match := re.match(r"(?:NPO_\S+ )*npo ([a-z].*)", piece))}
    return {line.partition(" > ")[0] for line in found}


def reasons(kind: type[RecordError] = RecordError) -> set[str]:
    """Return the reason of every kind of record error, those of the engine too."""
    import_module("streams.engine.compute")
    return {kind.reason}.union(*(reasons(each) for each in kind.__subclasses__()))


def test_events_in_the_readme_decode() -> None:
    """Each JSON block of the README is an event of the topic that its fence names, and says nothing that the event does not have."""
    shown = blocks(ROOT / "README.md", "json")
    assert [topic for topic, _ in shown] == ["telemetry", "recommendation", "feedback"]
    for topic, text in shown:
        event = codecs.decode(topic, text.encode())
        given: dict[str, Any] = msgspec.json.decode(text)
        written = msgspec.json.decode(codecs.encode(event))
        assert given == {name: written[name] for name in given}


def test_python_in_the_readme_runs() -> None:
    """The README's Python runs as it stands, and two overrides and a like leave the class below where it began."""
    ((_, text),) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - it is the README's own
    assert names["offsets"].offset < names["PRIOR_OFFSETS"].offset


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events of an alignment topic, exported to LOG in the working directory."""
    values = [example.read_bytes() for example in sorted((ROOT / "schemas" / "examples" / "alignment").glob("*.json"))]
    (tmp_path / "LOG").mkdir()
    pl.DataFrame({"value": values}).write_parquet(tmp_path / "LOG" / "alignment.parquet")
    monkeypatch.chdir(tmp_path)
    return [codecs.decode("alignment", value) for value in values]


def test_python_in_the_faq_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of docs/faq.md runs as it stands, and the page has every line that it prints, in code."""
    ((_, text),) = blocks(DOCS / "faq.md", "python")
    exec(text, {})  # noqa: S102 - it is the page's own
    printed = capsys.readouterr().out.splitlines()
    assert printed
    assert set(printed) <= set(code(DOCS / "faq.md"))


def test_python_in_the_learning_pages_runs(exported: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/learning shows for reading an exported log prints a line for each window of the log."""
    ((_, text),) = (block for page in sorted((DOCS / "learning").glob("*.md")) for block in blocks(page, "python"))
    exec(text, {})  # noqa: S102 - it is the page's own
    windows = [event for event in exported if isinstance(event, LossWindow)]
    assert len(capsys.readouterr().out.splitlines()) == len(windows) > 0


def test_yaml_in_contributing_is_an_action_and_a_rule() -> None:
    """The examples of CONTRIBUTING are an action of a catalogue and a rule of a policy."""
    (_, action), (_, rule) = blocks(ROOT / "CONTRIBUTING.md", "yaml")
    assert msgspec.convert(yaml.safe_load(action), list[CatalogueAction])
    assert msgspec.convert(yaml.safe_load(rule), list[Rule])


@pytest.mark.parametrize("line", sorted(command_lines()))
def test_command_exists(line: str) -> None:
    """Each call of `npo` that a page shows is one that the command line takes, with its options and arguments."""
    app = make_app()
    # Those of experiments are there only where the project is installed.
    assert line.partition(" ")[0] in {*app, *(name for name, *_ in COMMANDS)}
    if " " in line:
        app.parse_args(line, exit_on_error=False, print_error=False)


def test_pages_show_the_commands() -> None:
    """The pages show the commands of the loop at all: the test above has something to test."""
    assert {"up", "play", "watch", "answer", "worker", "replay"} <= {line.partition(" ")[0] for line in command_lines()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Each link to a file of the repository leads to one, and each link into a page to one of its headings."""
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if target.startswith("http"):
            continue
        path, _, heading = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", text_of(found), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    """Each file or folder of the repository that a page names in code exists."""
    for piece in code(page):
        for path in re.findall(rf"(?<![\w/.<-])(?:[\w-]+/)+(?:[\w.-]+\.(?:{ENDINGS})\b|(?=$|[\s`]))", piece):
            assert (ROOT / path).exists() or (page.parent / path).exists(), path


def test_constants_of_the_learning_rules_are_as_told() -> None:
    """Each constant that a page of docs/learning lists is where it says, and has the value it says where that is plain numbers."""
    compared = 0
    for page in sorted((DOCS / "learning").glob("*.md")):
        for value, where in re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", text_of(page), re.MULTILINE):
            if not (match := re.match(r"(profile|`[\w/]+\.py`): (`\w+`(?:, `\w+`)*)", where)):
                continue
            names = re.findall(r"\w+", match[2])
            holder: Any = Profile(name="default")
            if match[1] != "profile":
                holder = import_module(match[1].strip("`").removesuffix(".py").replace("/", "."))
            assert all(hasattr(holder, name) for name in names), (page.name, where)
            told = [float(number) for number in re.findall(r"(?<![\w./])\d*\.?\d+(?![\w/])", value)]
            meant = [getattr(holder, name) for name in names]
            if len(told) == len(meant) and not any(name.endswith("_ms") for name in names):
                assert told == meant, (page.name, where)
                compared += 1
    assert compared > 20


def test_tests_that_pages_name_are_there() -> None:
    """Each call of pytest that a page of docs/learning shows selects something: every word of its -k is in the name of a test there."""
    calls = [piece for page in sorted((DOCS / "learning").glob("*.md")) for piece in code(page) if piece.startswith("pytest ")]
    assert calls
    for call in calls:
        _, path, *rest = shlex.split(call)
        files = [ROOT / path] if path.endswith(".py") else [*(ROOT / path).rglob("test_*.py")]
        names = "\n".join(re.findall(r"^def (test_\w+)", "".join(map(text_of, files)), re.MULTILINE))
        words = rest[1].split(" or ") if rest else ["test_"]
        assert all(word in names for word in words), call


def test_make_targets_exist() -> None:
    """Each `make` target that a page names is one of the Makefile."""
    known = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = {match[1] for page in PAGES for piece in code(page) if (match := re.match(r"make ([a-z]+)", piece))}
    assert {"demo", "test", "lint"} <= named <= known


def test_variables_exist() -> None:
    """Each NPO_ variable that a page names is a setting, or is read by the code that names it."""
    settings = {f"NPO_{name.upper()}" for name in Deployment.model_fields}
    sources = "".join(text_of(path) for ring in ("schemas", "streams", "tests") for path in (ROOT / ring).rglob("*.py"))
    for page in PAGES:
        for name in set(re.findall(r"\bNPO_[A-Z_]+[A-Z]\b", text_of(page))) - settings:
            assert f'"{name}"' in sources, f"{page.name}: {name}"


def test_picture_of_the_topology_is_the_topologys() -> None:
    """The picture in docs/architecture.md is what `npo topology --mermaid` prints."""
    assert [text for _, text in blocks(DOCS / "architecture.md", "mermaid")] == [mermaid(TOPOLOGY)]


def test_every_topic_is_in_the_architecture() -> None:
    """docs/architecture.md names every topic that `npo topics apply` creates."""
    page = text_of(DOCS / "architecture.md")
    for plan in plan_topics(TOPOLOGY, 1):
        assert f"`{plan.name}`" in page or (plan.name.endswith(".dlq") and "`<topic>.dlq`" in page), plan.name


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    """docs/semantics.md lists each reason that a dead letter can have, and none that it cannot."""
    _, _, section = text_of(DOCS / "semantics.md").partition("## Records that cannot be used")
    listed = set(re.findall(r"^\|.+\| `(\w+)` \|", section.partition("\n## ")[0], re.MULTILINE))
    assert listed == reasons() - {RecordError.reason} | {"step_failed"}


def test_every_decision_is_listed() -> None:
    """The list in docs/decisions names each page, numbered without gaps, and each has its three parts."""
    pages = sorted(path for path in (DOCS / "decisions").glob("*.md") if path.name != "README.md")
    assert re.findall(r"\((\d{4}-[\w-]+\.md)\)", text_of(DOCS / "decisions" / "README.md")) == [page.name for page in pages]
    for number, page in enumerate(pages, start=1):
        assert page.name.startswith(f"{number:04}-")
        assert re.findall(r"^## (.+)$", text_of(page), re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_no_topic_is_misnamed() -> None:
    """Each full name of a topic on any page is a topic of the pipeline."""
    known = {topics.physical(topic.name) for topic in topics.TOPICS}
    for page in PAGES:
        assert set(re.findall(r"\bnpo\.[a-z-]+\.v1\b", text_of(page))) <= known, page.name
