"""Who may use the console: tokens and roles; without tokens this machine alone, and no page but the console's own."""

import json
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SettingsError
from schemas.settings import Deployment
from streams.cli import main
from streams.console import auth, problems, tokens
from streams.console.auth import TOKENS, TokensFile, is_loopback, open_tokens
from streams.console.routes import RANKS, Identity
from streams.console.server import ROUTES
from tests.console.serving import Reply, call, served

Ask = Callable[..., Awaitable[tuple[int, str, Identity | None]]]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tokens are that `npo token` makes."""
    monkeypatch.setenv("NPO_TOKENS", str(tmp_path / "tokens.json"))
    monkeypatch.setenv("NPO_HOME", str(tmp_path))
    return tmp_path / "tokens.json"


def make(name: str, role: str, *options: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Make a token with the command, and return what it prints."""
    capsys.readouterr()
    assert main(["token", "add", name, "--role", role, *options, "--json"]) == 0
    made: dict[str, str] = json.loads(capsys.readouterr().out)
    return made


@pytest.fixture
async def ask(path: Path) -> Iterator[Ask]:  # type: ignore[misc]  # pytest-asyncio takes a generator
    """A server that tells who asks, beside the tokens: status, kind of problem, identity."""
    told: list[Identity] = []

    async def handle(request: web.Request) -> web.Response:
        try:
            told.append(await auth.identify(request))
        except problems.ProblemError as error:
            return problems.answer(error)
        return web.Response()

    application = web.Application()
    application[TOKENS] = TokensFile(path)
    application.router.add_route("*", "/", handle)
    async with TestClient(TestServer(application)) as client:

        async def one(**headers: str) -> tuple[int, str, Identity | None]:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            async with client.get("/", headers=given) as reply:
                if reply.status == web.HTTPOk.status_code:
                    return 200, "", told[-1]
                assert (reply.headers.get("WWW-Authenticate") == "Bearer") == (reply.status == 401)
                return reply.status, (await reply.json(content_type=None))["type"], None

        yield one


def test_a_token_is_nowhere_but_with_who_has_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file has the hash of a token and not the token, for its owner alone; a list shows neither; each token is another."""
    made = [make(f"Ana {number}", "operator", "--operator", "ana", capsys=capsys) for number in range(3)]
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert main(["token", "list"]) == 0
    assert main(["token", "list", "--json"]) == 0
    shown = capsys.readouterr().out
    for each in made:
        assert each["token"].removeprefix("npo_") not in text + shown
        assert tokens.digest(each["token"]) in text
        assert tokens.digest(each["token"]) not in shown + json.dumps(each)
    assert len({each["token"] for each in made}) == len(made)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert main(["token", "add", "x", "--role", "viewer"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("npo_")
    assert printed.out.strip() not in printed.err


def test_who_may_answer_has_a_pseudonym(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator or admin answers under a pseudonym that does not tell the name, given or drawn; a viewer has none."""
    assert make("Ana Lima", "operator", "--operator", "ana", "--team", "night", capsys=capsys)["operator"] == "ana"
    drawn = {make(f"Ben {role}", role, capsys=capsys)["operator"] for role in ("operator", "admin")}
    assert len(drawn) == 2
    assert not any("ben" in name.lower() for name in drawn)
    assert make("screen", "viewer", capsys=capsys)["operator"] is None
    for wrong in (["Ana Lima", "--role", "viewer"], ["x", "--role", "admin", "--operator", "outcome:x"], ["", "--role", "viewer"]):
        before = path.read_bytes()
        assert main(["token", "add", *wrong]) == 1
        assert path.read_bytes() == before
    assert main(["token", "add", "x", "--role", "owner"]) == 2
    assert main(["token", "remove", "nobody"]) == 1
    assert main(["token", "remove", "screen"]) == 0


async def test_only_known_tokens_pass(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    """From the first token on every request needs one; one that is removed passes no more, and from anywhere a known one does."""
    assert (await ask())[2] == Identity("local", "admin")
    made = make("Ana", "operator", "--operator", "ana", "--team", "night", capsys=capsys)["token"]
    assert (await ask(Authorization=f"Bearer {made}"))[2] == Identity("Ana", "operator", "ana", "night", tokens=True)
    assert (await ask(Authorization=f"bearer  {made}", Host="console.example", Origin="https://elsewhere.example"))[0] == 200
    wrong = [
        "",
        made,
        f"Basic {made}",
        "Bearer",
        "Bearer ",
        f"Bearer {made[:-1]}",
        f"Bearer {made} x",
        "Bearer npo_\udcff",
        f"Bearer {made}x",
    ]
    for header in wrong:
        assert (await ask(Authorization=header))[:2] == (401, "urn:npo:token"), header
    assert (await ask())[0] == 401
    digest = tokens.digest(made)
    assert (await ask(Authorization=f"Bearer {digest}"))[0] == 401
    make("Ben", "viewer", capsys=capsys)
    assert main(["token", "remove", "Ana"]) == 0
    assert (await ask(Authorization=f"Bearer {made}"))[0] == 401


SPOILED: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "no list": lambda path: path.write_text("{}"),
    "written by others": lambda path: path.chmod(0o620),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_file_that_breaks_lets_nobody_in(
    ask: Ask, path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], object]
) -> None:
    """A tokens file that cannot be used or trusted opens nothing; mended, it is used again; gone, nobody passes."""
    token = make("Ana", "admin", capsys=capsys)
    header = {"Authorization": f"Bearer {token['token']}"}
    kept = tokens.read(path) or []
    assert (await ask(**header))[0] == 200
    spoil(path)
    for sent in (header, {}):
        assert (await ask(**sent))[:2] == (503, "urn:npo:tokens")
    tokens.write(path, kept)
    assert (await ask(**header))[0] == 200
    remove(path)
    assert [(await ask(**sent))[0] for sent in (header, {})] == [401, 401]


def remove(path: Path) -> None:
    """Remove a file."""
    path.unlink()


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("localhost", None, True), ("LocalHost:8470", None, True), ("127.0.0.1:9000", None, True), ("127.1.2.3", None, True),
        ("[::1]:8470", None, True), ("localhost:8470", "http://localhost:8470", True), ("127.0.0.1:1", "http://127.0.0.1:1", True),
        ("evil.example", None, False), ("evil.example:8470", "http://evil.example:8470", False), ("127.0.0.1.evil.example", None, False),
        ("localhost.evil.example", None, False), ("evil@localhost", None, False), ("localhost:8470/x", None, False), ("[::1", None, False),
        ("192.168.0.7:8470", None, False), ("0.0.0.0:8470", None, False), ("localhost:8470", "http://evil.example", False),
        ("localhost:8470", "null", False), ("localhost:8470", "http://localhost:8471", False),
        ("localhost:8470", "https://localhost:8470", False),
        ("localhost:8470", "http://127.0.0.1:8470", False), ("localhost:8470", "", False),
    ],
)  # fmt: skip
async def test_without_tokens_only_this_machines_own_page_asks(ask: Ask, host: str, origin: str | None, *, passes: bool) -> None:
    """Without tokens a request has to name a loopback host, and to come from no page of another origin."""
    status, kind, _ = await ask(Host=host, **({} if origin is None else {"Origin": origin}))
    assert (status, kind) in ([(200, "")] if passes else [(403, "urn:npo:host"), (403, "urn:npo:origin")])


@pytest.mark.parametrize("name", auth.PROXIED)
async def test_without_tokens_nobody_asks_through_a_proxy(ask: Ask, name: str) -> None:
    """A request that says it was passed on comes from anybody, whatever host it names: without tokens it is refused."""
    status, kind, _ = await ask(Host="127.0.0.1:8470", **{name: "127.0.0.1"})
    assert (status, kind) == (403, "urn:npo:proxy")


@given(st.text(max_size=30))
def test_hosts_are_loopback_by_address_or_name(host: str) -> None:
    """No text but localhost and loopback addresses is taken for this machine, and none is a crash."""
    if is_loopback(auth.host_of(host)):
        assert auth.host_of(host).rstrip(".") == "localhost" or auth.host_of(host).startswith(("127.", "::1"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.7", "console.example"])  # noqa: S104 - nothing is bound
def test_no_open_console_without_tokens(path: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A console that is to be reached from elsewhere does not start without tokens; on a loopback address it does."""
    deployment = Deployment(console_host=host, tokens=path)
    with pytest.raises(SettingsError, match="npo token add"):
        open_tokens(deployment)
    for own in ("127.0.0.1", "localhost", "::1"):
        open_tokens(deployment.model_copy(update={"console_host": own}))
    make("Ana", "admin", capsys=capsys)
    open_tokens(deployment)
    assert main(["token", "remove", "Ana"]) == 0
    with pytest.raises(SettingsError, match="no tokens"):
        open_tokens(deployment)


def test_the_server_does_not_start_open(deployment: Deployment) -> None:
    """The whole server refuses to listen openly without tokens."""
    with pytest.raises(SettingsError, match="npo token add"), served(deployment.model_copy(update={"console_host": "0.0.0.0"})):  # noqa: S104
        pass


@pytest.fixture(scope="module")
def guarded(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A console that asks for tokens, and one token of each role."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.json"
    made = {role: tokens.make(f"name of {role}", role, 1, None if role == "viewer" else f"pseudonym-{role}") for role in tokens.ROLES}
    tokens.write(path, [token for _, token in made.values()])
    with served(deployment.model_copy(update={"tokens": path})) as address:
        yield address, {role: secret for role, (secret, _) in made.items()}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_asks_for_its_role(guarded: tuple[str, dict[str, str]], route: object) -> None:
    """Each route of the table refuses who has no token with 401, and whoever has a lower role with 403; a sufficient one gets further."""
    console, secrets = guarded
    method, path, needed = route.method, f"/api/v1{route.path}".format(id="x", scope="x"), route.role  # type: ignore[attr-defined]
    assert call(console, method, path).status == 401
    for role, secret in secrets.items():
        if RANKS[role] < RANKS[needed]:
            refused = call(console, method, path, headers={"Authorization": f"Bearer {secret}"})
            assert (refused.status, refused.body["type"]) == (403, "urn:npo:role")
        elif method == "POST":
            # A body that is none gets past the role, and no further.
            assert call(console, method, path, {"no": "field"}, {"Authorization": f"Bearer {secret}"}).status == 400
            assert call(console, method, path, {}, {"Authorization": f"Bearer {secret}", "Content-Type": "text/plain"}).status == 415


def test_nobody_speaks_for_another(guarded: tuple[str, dict[str, str]]) -> None:
    """With tokens an answer or a command bears the token's pseudonym, and a body that names another is refused."""
    console, secrets = guarded

    def ask(role: str, path: str, body: object) -> Reply:
        return call(console, "POST", f"/api/v1{path}", body, {"Authorization": f"Bearer {secrets[role]}"})

    freeze = {"command": "freeze", "scope": "s"}
    for role, path, body in (("operator", "/decisions/x/answers", {"kind": "like"}), ("admin", "/control", freeze)):
        refused = ask(role, path, {**body, "operator": "pseudonym-other"})
        assert (refused.status, refused.body["type"]) == (403, "urn:npo:operator")
    told = ask("admin", "/control", freeze)
    assert (told.status, told.body["control"]["by"], told.body["in_force"]) == (200, "pseudonym-admin", False)
    assert call(console, "GET", "/api/v1/me", headers={"Authorization": f"Bearer {secrets['operator']}"}).body == {
        "name": "name of operator", "role": "operator", "operator": "pseudonym-operator", "team": None, "tokens": True,
    }  # fmt: skip
