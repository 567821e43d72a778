"""The API's reads: what is on the topics is what is given, page by page; what cannot be given is a problem that says why."""

import re
from itertools import count
from pathlib import Path

import pytest

from schemas.events import Life, Status
from schemas.settings import Deployment
from tests.console.serving import Reply, call, decided, opened, published, served, surfaced, until, write

HOUR_MS = 3_600_000
PAGES_MAX = 100


@pytest.fixture(scope="module")
def log(deployment: Deployment, console: str) -> list[str]:
    """Ids of decisions in three scopes, the newest first; every third was withheld, all are in the read model."""
    names = []
    for number in range(24):
        name, scope, time_ms = f"d{number:02}", ("web", "db", "mail")[number % 3], 1_000_000 + number * HOUR_MS
        records = (
            [("decision", decided(name, scope, time_ms, Status.WITHHELD))]
            if number % 4 == 0
            else surfaced(name, scope, time_ms, f"host-{number}")
        )
        write(deployment, records)
        names.append(name)
    write(deployment, [("recommendation", opened("d01", "db", 1_000_000 + HOUR_MS, "host-1", Life.EXPIRED))])
    write(deployment, [("recommendation", opened("d02", "mail", 1_000_000 + 2 * HOUR_MS, "host-2", Life.CLEARED))])
    until(lambda: call(console, "GET", "/api/v1/decisions?limit=200").body["decisions"][0]["id"] == names[-1])
    until(lambda: call(console, "GET", "/api/v1/recommendations/d01").body["life"] == "expired")
    until(lambda: call(console, "GET", "/api/v1/recommendations/d02").body["life"] == "cleared")
    return names[::-1]


def walk(console: str, path: str) -> list[str]:
    """Ids on all pages of a list."""
    found, before = [], ""
    for _ in count():
        body = call(console, "GET", f"{path}&before={before}").body
        found += [event["id"] for event in body.get("decisions", body.get("recommendations"))]
        if body["next"] is None:
            return found
        before = body["next"]
        assert len(found) < PAGES_MAX
    return found


@pytest.mark.parametrize("limit", [1, 5, 24, 200])
def test_pages_give_every_record_once_newest_first(console: str, log: list[str], limit: int) -> None:
    """However long the pages are, all of them together are all decisions of all scopes, once each, the newest first."""
    assert walk(console, f"/api/v1/decisions?limit={limit}") == log


def test_lists_give_what_was_asked_for(console: str, log: list[str]) -> None:
    """A list by scope, status or whether it is open gives exactly those, whatever the length of its pages."""
    shown = [name for name in log if int(name[1:]) % 4]
    assert walk(console, "/api/v1/decisions?status=withheld&limit=2") == [name for name in log if name not in shown]
    assert walk(console, "/api/v1/decisions?scope=db&limit=2") == [name for name in log if int(name[1:]) % 3 == 1]
    assert walk(console, "/api/v1/recommendations?limit=2") == shown
    assert walk(console, "/api/v1/recommendations?open=true&limit=2") == [name for name in shown if name not in {"d01", "d02"}]


def test_queue_holds_what_is_open(console: str, log: list[str]) -> None:
    """The members of all cards are the recommendations that can be answered in time, each once; what has cleared comes last, uncounted."""
    body = call(console, "GET", "/api/v1/queue").body
    members = [member["recommendation"]["id"] for card in body["cards"] for member in card["members"]]
    assert sorted(members) == sorted(name for name in log if int(name[1:]) % 4 and name != "d01")
    assert body["open"] == len(members) - 1
    assert [card["id"] for card in body["cards"] if card["cleared"]] == ["d02"] == [body["cards"][-1]["id"]]
    assert body["clocks_ms"].keys() == {"web", "db", "mail"}
    one = call(console, "GET", "/api/v1/queue?scope=web").body
    assert {card["scope"] for card in one["cards"]} == {"web"} == one["clocks_ms"].keys()


def test_one_decision_is_given_with_its_reasons_and_its_moment(console: str, log: list[str]) -> None:
    """A decision is found by its id: itself, its recommendation, why it came out so, and its metrics, each as long as the times."""
    name = log[0]
    assert call(console, "GET", f"/api/v1/decisions/{name}").body["id"] == name
    assert call(console, "GET", f"/api/v1/recommendations/{name}").body["life"] == "opened"
    assert call(console, "GET", f"/api/v1/decisions/{name}/why").body["decision"] == name
    moment = call(console, "GET", f"/api/v1/decisions/{name}/moment").body
    assert moment["times_ms"]
    assert {len(values) for values in moment["metrics"].values()} == {len(moment["times_ms"])}


def test_scopes_are_those_that_were_heard_of(console: str, log: list[str]) -> None:
    """Each scope with a record has its numbers and its view; another has none."""
    del log
    summaries = call(console, "GET", "/api/v1/scopes").body["scopes"]
    assert [each["scope"] for each in summaries] == ["db", "mail", "web"]
    assert [each["open"] for each in summaries] == [5, 5, 6]
    assert call(console, "GET", "/api/v1/scopes/web").body["counts"]["withheld"] == 2
    assert_problem(call(console, "GET", "/api/v1/scopes/wEb"), 404)


def test_read_after_a_write_waits_until_it_is_in_the_read_model(deployment: Deployment, console: str, log: list[str]) -> None:
    """A read with the cursor of a record that was just written has that record."""
    del log
    for number in range(5):
        place = call(console, "GET", "/api/v1/queue").body["cursor"]
        where = re.search(r"recommendation:0=(\d+),1=(\d+)", place)
        assert where
        name = f"after-{number}"
        records = surfaced(name, "after", 1_000_000 + number, f"host-{number}")
        write(deployment, records)
        cluster = place.partition("/")[0]
        # One record and the marker of its transaction, in one of the two partitions.
        wanted = [f"{cluster}/recommendation:{at}={int(where[at + 1]) + 1}" for at in (0, 1)]
        bodies = [call(console, "GET", f"/api/v1/queue?scope=after&after={after}").body for after in wanted]
        assert any(name in {each["recommendation"]["id"] for card in body["cards"] for each in card["members"]} for body in bodies)


def assert_problem(reply: Reply, status: int) -> None:
    """An answer is a problem of a status, and says something."""
    assert reply.status == status, reply
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert reply.body["status"] == status
    assert reply.body["detail"]


@pytest.mark.parametrize(("path", "status"), [
    ("/api/v1/decisions/none", 404),
    ("/api/v1/decisions/none/why", 404),
    ("/api/v1/decisions/none/moment", 404),
    ("/api/v1/recommendations/%00%F0%9F%92%A5", 404),
    ("/api/v1/nothing", 404),
    ("/nothing", 404),
    ("/static/../server.py", 404),
    ("/static/%2e%2e/server.py", 404),
    ("/api/v1/decisions?limit=0", 400),
    ("/api/v1/decisions?limit=x", 400),
    ("/api/v1/decisions?status=lost", 400),
    ("/api/v1/decisions?before=x", 400),
    ("/api/v1/queue?after=x", 400),
    ("/api/v1/queue?scope=", 400),
    ("/api/v1/queue?scope=a&scope=b", 400),
    ("/api/v1/queue?nothing=1", 400),
    ("/api/v1/me?nothing=1", 400),
])  # fmt: skip
def test_what_cannot_be_given_is_a_problem(console: str, path: str, status: int) -> None:
    """A wrong parameter is 400, what does not exist 404: always a problem with a sentence, never a crash."""
    assert_problem(call(console, "GET", path), status)


def test_another_method_is_a_problem_that_names_those_there_are(console: str) -> None:
    """A method that a path does not have is 405, with the methods that it has."""
    reply = call(console, "DELETE", "/api/v1/queue")
    assert_problem(reply, 405)
    assert "GET" in reply.headers["Allow"]


@pytest.mark.parametrize("path", ["/", "/queue", "/why/d01", "/loop", "/loop/web"])
def test_every_view_has_its_own_address(console: str, path: str) -> None:
    """Each view's address gives the page, under a policy that lets nothing in from elsewhere; asked again, it is not sent again."""
    reply = call(console, "GET", path)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
    again = call(console, "GET", path, headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


def test_everything_that_the_page_names_is_there(console: str) -> None:
    """Scripts, styles and modules that the page and its modules name exist, are the server's own, and have the right type."""
    waiting, seen = ["/"], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        reply = call(console, "GET", path)
        assert reply.status == 200, path
        text = reply.body.decode()
        named = (
            re.findall(r'(?:src|href)="([^"#]+)"', text)
            if path == "/"
            else re.findall(r'^(?:import|export)[^;"]*?"([^"]+\.js)"', text, re.MULTILINE)
        )
        kind = {".js": "javascript", ".css": "text/css", ".svg": "image/svg+xml", "": "text/html"}[Path(path).suffix]
        assert kind in reply.headers["Content-Type"], path
        for name in named:
            assert "://" not in name, "nothing is fetched from elsewhere"
            target = name if name.startswith("/") else str(Path(path).parent / name)
            if target.startswith("/static"):
                waiting.append(target)
    assert len(seen) > 1


def test_liveness_and_metrics_tell_of_the_console(console: str) -> None:
    """The console says that it lives and is ready, and counts requests by route, never by path."""
    assert call(console, "GET", "/livez").body["ok"]
    until(lambda: call(console, "GET", "/readyz").body["ok"])
    call(console, "GET", "/api/v1/decisions/counted")
    metrics = call(console, "GET", "/metrics").body.decode()
    assert 'route="/api/v1/decisions/{id}"' in metrics
    assert "counted" not in metrics


def test_without_redis_reads_are_unavailable_and_nothing_else_breaks(deployment: Deployment) -> None:
    """While Redis is away, or holds no read model, reads are 503 problems; page, liveness and document are there."""
    for redis, application in (("redis://127.0.0.1:1/0", deployment.application), (deployment.redis, "nobody")):
        with served(deployment.model_copy(update={"redis": redis, "application": application})) as address:
            for path in ("queue", "scopes", "decisions", "recommendations"):
                assert_problem(call(address, "GET", f"/api/v1/{path}"), 503)
            for path in ("/", "/livez", "/openapi.json", "/api/v1/me"):
                assert call(address, "GET", path).status == 200
            ready = call(address, "GET", "/readyz")
            assert (ready.status, ready.body["checks"]["read_model"]["ok"]) == (503, False)


def test_read_model_that_comes_late_is_served_when_it_is_there(deployment: Deployment) -> None:
    """A console that was there before the publisher serves the read model as soon as there is one, without a restart."""
    late = deployment.model_copy(update={"application": "late"})
    with served(late) as address:
        assert_problem(call(address, "GET", "/api/v1/queue"), 503)
        with published(late):
            until(lambda: call(address, "GET", "/api/v1/queue").status == 200)
