"""The queue when things go wrong: lost connections, restarts, stale pages, tokens; each ends in a right and visible state."""

from playwright.sync_api import APIResponse, BrowserContext, Page, Route, expect

from streams.console.views import Me
from tests.console.browser.conftest import card_of, said, sent
from tests.console.browser.fake import Fake, card

REDIS_AWAY = (503, {"kind": "read_model_away", "detail": "Redis does not answer; try again, nothing is lost"})
BROKER_AWAY = (503, "broker_away", "Kafka does not answer")
TABS = 7  # one more than Chromium has connections for a host
BECOME = """(state) => {
  Object.defineProperty(document, "visibilityState", { get: () => state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
RECORD = """async () => {
  const { connection } = await import("/static/api.js");
  window.states = [];
  connection.addEventListener("change", () => window.states.push(connection.state));
}"""


def test_answers_given_without_a_connection_are_sent_once_when_it_is_back(opened: Page, fake: Fake) -> None:
    """A banner says so, the answer is kept, and goes on the log once, with the revision that it had."""
    fake.stop()
    expect(opened.locator("#connection")).to_have_text("no connection")
    expect(opened.locator("#banner")).to_contain_text("No connection since")
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("kept in this browser; sent when the connection is back")
    expect(opened.locator("#banner")).to_contain_text("1 answer waits for it")
    fake.start()
    expect(said(opened, 1)).to_have_text("counted")
    expect(opened.locator("#banner")).to_be_hidden()
    expect(opened.locator("#connection")).to_have_text("live")
    assert sent(fake) == [(1, "like", 1)]


def test_an_answer_whose_201_was_lost_is_not_doubled(opened: Page, fake: Fake) -> None:
    """The log has it and the page does not know: it sends the same revision again, and the log still has it once."""
    fake.lose_next = 1
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("counted")
    assert [body["revision"] for _, body in fake.posts] == [1, 1]
    assert sent(fake) == [(1, "like", 1)]


def test_answers_survive_a_reload_before_they_are_sent(opened: Page, fake: Fake) -> None:
    """What the broker could not take is kept in the browser, and the page that comes after a reload sends it."""
    fake.fail_next = [BROKER_AWAY] * 1000
    card_of(opened, 1).locator(".like").click()
    expect(opened.locator("#banner")).to_contain_text("1 answer is not on the log yet")
    expect(said(opened, 1)).to_have_text("kept in this browser; sent when the connection is back")
    opened.reload()
    expect(opened.locator("#banner")).to_contain_text("1 answer is not on the log yet")
    fake.fail_next = []
    expect(opened.locator("#banner")).to_be_hidden()
    expect(said(opened, 1)).to_have_text("counted")
    assert sent(fake) == [(1, "like", 1)]


def test_a_restarted_server_is_resumed_where_the_page_stood(opened: Page, fake: Fake) -> None:
    """What happened while the server was away is told by the stream that goes on behind the last event."""
    fake.answer(f"{1:016x}", "ben", "neutral")
    expect(card_of(opened, 1)).to_contain_text("ben says neutral")
    fake.stop()
    expect(opened.locator("#connection")).to_have_text("no connection")
    fake.answer(f"{3:016x}", "ana", "like")
    fake.start()
    expect(card_of(opened, 3)).to_contain_text("ana says like")
    assert fake.resumed[-1] == "fake/recommendation:0=1"


def test_a_stale_page_marks_what_closed_and_moves_nothing(opened: Page, fake: Fake) -> None:
    """A card that closed meanwhile is marked in its place and keeps the focus; `r` puts it away."""
    for _ in range(3):
        opened.keyboard.press("j")
    before = card_of(opened, 4).bounding_box()
    fake.closed.add(f"{3:016x}")
    fake.told(f"{3:016x}", life="expired")
    expect(card_of(opened, 3)).to_contain_text("Closed: nobody answered in time. An answer now counts for trust only.")
    expect(card_of(opened, 3)).to_be_focused()
    expect(opened.locator(".card")).to_have_count(8)
    assert card_of(opened, 4).bounding_box() == before
    expect(opened.locator(".fresh")).to_contain_text("1 done")
    opened.keyboard.press("r")
    expect(card_of(opened, 3)).to_have_count(0)
    expect(opened.locator(".card")).to_have_count(7)


def test_new_cards_wait_until_they_are_wanted(opened: Page, fake: Fake) -> None:
    """A new card moves nothing under the cursor: it is told of, and `r` puts it where it belongs."""
    opened.keyboard.press("j")
    new = card(9)
    fake.cards = [new, *fake.cards]
    fake.told(new.id)
    expect(opened.locator(".fresh")).to_contain_text("1 new")
    expect(opened.locator(".card").first).to_have_attribute("data-id", f"{1:016x}")
    expect(opened.locator("#live")).to_contain_text("1 new card")
    opened.keyboard.press("r")
    expect(opened.locator(".card").first).to_have_attribute("data-id", new.id)
    expect(card_of(opened, 1)).to_be_focused()


def test_an_empty_queue_says_so_and_fills_by_itself(page: Page, fake: Fake) -> None:
    """Without cards the page says that nothing waits; the first that comes is shown without a key."""
    cards, fake.cards = fake.cards, []
    page.goto(f"{fake.url}/queue")
    expect(page.locator(".empty")).to_contain_text("Nothing waits for an answer.")
    expect(page.locator("#connection")).to_have_text("live")
    fake.cards = cards[:1]
    fake.told(cards[0].id)
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".empty")).to_be_hidden()


def test_a_reset_reads_the_queue_anew(opened: Page, fake: Fake) -> None:
    """Where the log no longer holds what followed, cards that are gone are marked and new ones are told of."""
    fake.closed.add(f"{1:016x}")
    fake.cards = [*fake.cards, card(9)]
    fake.push("reset", {})
    expect(opened.locator("#live")).to_contain_text("Too much has happened since; the queue is read anew.")
    expect(opened.locator(".fresh")).to_contain_text("1 new, 1 done")
    expect(card_of(opened, 1)).to_contain_text("No longer open.")


def test_without_a_token_the_page_asks_for_one(page: Page, fake: Fake) -> None:
    """401 brings a dialog; a wrong token is told, the right one shows the queue, and answers bear the token's operator."""
    fake.tokens = {"secret"}
    fake.me = Me("emma@laptop", "operator", "op-7", None, tokens=True)
    page.goto(f"{fake.url}/queue")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The server does not know this token.")).to_be_visible()
    page.get_by_label("Token").fill("secret")
    page.keyboard.press("Enter")
    expect(page.locator("#operator")).to_have_text("op-7")
    expect(page.locator(".card")).to_have_count(8)
    card_of(page, 1).locator(".like").click()
    expect(said(page, 1)).to_have_text("counted")
    assert [each["operator"] for each in fake.log] == ["op-7"]


def test_a_token_that_is_taken_away_keeps_the_answer(opened: Page, fake: Fake) -> None:
    """An answer that meets 401 waits for the token, and is sent with it."""
    fake.hold()
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("sending…")
    fake.tokens = {"secret"}
    fake.release()
    opened.get_by_label("Token").fill("secret")
    opened.keyboard.press("Enter")
    expect(said(opened, 1)).to_have_text("counted")
    assert sent(fake) == [(1, "like", 1)]


def test_a_forbidden_answer_is_refused_with_the_reason(opened: Page, fake: Fake) -> None:
    """403 is final: the card says why, and is open again."""
    fake.fail_next = [(403, "role", "emma is viewer; answers are for operators")]
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("refused: emma is viewer; answers are for operators")
    expect(card_of(opened, 1)).not_to_contain_class("done")
    assert fake.log == []


def test_a_server_that_is_away_at_first_is_tried_again(page: Page, fake: Fake) -> None:
    """A read model that cannot be reached is told in words, and the queue comes by itself when it can."""
    fake.canned["/queue"] = (503, {"kind": "read_model_away", "detail": "Redis does not answer; try again, nothing is lost"})
    page.goto(f"{fake.url}/queue")
    expect(page.locator("main")).to_contain_text("Redis does not answer; try again, nothing is lost")
    del fake.canned["/queue"]
    expect(page.locator(".card")).to_have_count(8)


def test_a_queue_that_cannot_be_read_is_said_to_be_old(opened: Page, fake: Fake) -> None:
    """While the stream lives and the read model is away, the page says why it may be old; it waits for the same cursor until it has it."""
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url) if "/queue?after=" in request.url else None)
    fake.canned["/queue"] = REDIS_AWAY
    fake.cards = [*fake.cards, card(9)]
    fake.told(f"{9:016x}")
    banner = opened.locator("#banner")
    expect(banner).to_contain_text("What you see may be old. Redis does not answer; try again, nothing is lost.")
    expect(opened.locator("#connection")).to_have_text("live")
    while len(asked) < 3:
        opened.wait_for_timeout(100)
    del fake.canned["/queue"]
    expect(opened.locator(".fresh")).to_contain_text("1 new")
    expect(banner).to_be_hidden()
    assert len(set(asked)) == 1


def test_a_post_without_an_answer_is_sent_again(page: Page, fake: Fake) -> None:
    """A server that takes a POST and says nothing is given up for now: the answer is kept, and sent again with its revision."""
    page.clock.install()
    page.goto(f"{fake.url}/queue")
    fake.hold()
    card_of(page, 1).locator(".like").click()
    expect(said(page, 1)).to_have_text("sending…")
    page.clock.fast_forward(21_000)
    expect(said(page, 1)).to_have_text("kept in this browser; sent when the connection is back")
    expect(page.locator("#banner")).to_contain_text("1 answer is not on the log yet")
    fake.release()
    expect(said(page, 1)).to_have_text("counted")
    assert {body["revision"] for _, body in fake.posts} == {1}
    assert sent(fake) == [(1, "like", 1)]


def test_seven_tabs_answer(context: BrowserContext, fake: Fake) -> None:
    """Tabs that nobody sees hold no connection, so that one more can answer; seen again, they go on behind the last event they had."""
    tabs: list[Page] = []
    for _ in range(TABS):
        if tabs:
            tabs[-1].evaluate(BECOME, "hidden")
        tabs.append(context.new_page())
        tabs[-1].goto(f"{fake.url}/queue")
        expect(tabs[-1].locator(".card")).to_have_count(8)
    card_of(tabs[-1], 1).locator(".like").click()
    expect(said(tabs[-1], 1)).to_have_text("counted")
    assert fake.streams == 1
    tabs[0].evaluate(BECOME, "visible")
    expect(said(tabs[0], 1)).to_have_text("counted")
    assert fake.resumed[-1] == "fake/recommendation:0=0"


def test_an_answer_is_not_sent_in_another_name(page: Page, fake: Fake) -> None:
    """What emma could not send waits while ben is signed in, the banner says whose it is, and it is sent when she is back."""
    emma, ben = (Me(f"{name}@laptop", "operator", name, None, tokens=True) for name in ("emma", "ben"))
    fake.me = emma
    page.goto(f"{fake.url}/queue")
    expect(page.locator("#operator")).to_have_text("emma")
    fake.fail_next = [BROKER_AWAY] * 1000
    card_of(page, 1).locator(".like").click()
    expect(page.locator("#banner")).to_contain_text("1 answer is not on the log yet")
    fake.me = ben
    fake.fail_next = []
    page.reload()
    expect(page.locator("#operator")).to_have_text("ben")
    expect(page.locator("#banner")).to_contain_text("1 answer of emma waits in this browser.")
    card_of(page, 2).locator(".neutral").click()
    expect(said(page, 2)).to_have_text("counted")
    page.wait_for_timeout(1_500)
    assert {(each["operator"], each["kind"]) for each in fake.log} == {("ben", "neutral")}
    fake.me = emma
    page.reload()
    while len(fake.log) < 2:
        page.wait_for_timeout(100)
    expect(page.locator("#banner")).to_be_hidden()
    assert (fake.log[-1]["operator"], fake.log[-1]["kind"], fake.log[-1]["revision"]) == ("emma", "like", 1)


def test_a_403_for_another_name_keeps_the_answer(opened: Page, fake: Fake) -> None:
    """Where the token changes under an answer that is on its way, the refusal is not its end: it waits for its operator."""
    fake.hold()
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("sending…")
    fake.fail_next = [(403, "operator", "ben@laptop speaks as ben, not as emma; leave `operator` out")]
    opened.evaluate("localStorage.setItem('npo.token', 'of-ben')")
    fake.release()
    expect(said(opened, 1)).to_have_text("kept in this browser; sent when the connection is back")
    opened.evaluate("localStorage.removeItem('npo.token')")
    opened.reload()
    while not fake.log:
        opened.wait_for_timeout(100)
    assert sent(fake) == [(1, "like", 1)]


def test_a_tab_does_not_forget_what_another_has_kept(opened: Page, context: BrowserContext, fake: Fake) -> None:
    """A change of mind that a tab could not send outlives the earlier answer that another tab sends meanwhile."""
    fake.fail_next = [BROKER_AWAY] * 1000
    card_of(opened, 1).locator(".like").click()
    expect(opened.locator("#banner")).to_contain_text("1 answer is not on the log yet")
    other = context.new_page()
    other.goto(f"{fake.url}/queue")
    expect(other.locator("#banner")).to_contain_text("1 answer is not on the log yet")
    card_of(other, 1).locator(".neutral").click()
    while not any(body["kind"] == "neutral" for _, body in fake.posts):
        other.wait_for_timeout(100)
    other.close()
    fake.fail_next = []
    expect(said(opened, 1)).to_have_text("counted")
    opened.reload()
    while len(fake.log) < 2:
        opened.wait_for_timeout(100)
    assert sent(fake) == [(1, "like", 1), (1, "neutral", 2)]


def test_a_reset_without_a_queue_asks_patiently(opened: Page, fake: Fake) -> None:
    """A reset while the read model is away is waited out on one stream, and the queue is read when it can be."""
    fake.canned["/queue"] = REDIS_AWAY
    before = len(fake.gets)
    fake.cards = [*fake.cards, card(9)]
    fake.push("reset", {})
    while fake.gets[before:].count("/queue") < 3:
        opened.wait_for_timeout(100)
    assert len(fake.resumed) == 1
    del fake.canned["/queue"]
    expect(opened.locator(".fresh")).to_contain_text("1 new")


def test_leaving_the_queue_while_it_is_read_anew_leaves_no_stream(opened: Page, fake: Fake) -> None:
    """A view that was left opens no stream, whatever it was waiting for."""
    held: list[Route] = []
    opened.route("**/api/v1/queue*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    fake.push("reset", {})
    while not held:
        opened.wait_for_timeout(100)
    fake.canned["/decisions/nope/why"] = (404, {"detail": "no decision begins with 'nope'"})
    opened.evaluate("history.pushState(null, '', '/why/nope'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(opened.get_by_role("alert")).to_contain_text("nope")
    held[0].continue_()
    opened.wait_for_timeout(1_000)
    assert len(fake.resumed) == 1
    assert fake.streams == 0


def test_an_older_reply_changes_nothing(opened: Page, fake: Fake) -> None:
    """A read of the queue that comes back behind a later one is dropped: what it does not know of is not gone."""
    held: list[tuple[Route, APIResponse]] = []
    opened.route("**/api/v1/queue*", lambda route: route.continue_() if held else held.append((route, route.fetch())))
    fake.told(f"{1:016x}")
    while not held:
        opened.wait_for_timeout(100)
    fake.cards = [card(9), *fake.cards]
    fake.stop()
    expect(opened.locator("#connection")).to_have_text("no connection")
    fake.start()
    expect(opened.locator(".fresh")).to_contain_text("1 new")
    opened.keyboard.press("r")
    expect(card_of(opened, 9)).to_be_visible()
    route, response = held[0]
    route.fulfill(response=response)
    opened.wait_for_timeout(1_000)
    expect(card_of(opened, 9)).not_to_contain_text("No longer open.")


def test_only_the_stream_says_that_the_page_is_live(opened: Page, fake: Fake) -> None:
    """While the stream is refused, neither its 503 nor what else the server answers says that the connection is back."""
    opened.evaluate(RECORD)
    dialled: list[str] = []
    opened.on("request", lambda request: dialled.append(request.url) if "/events" in request.url else None)
    fake.stop()
    fake.canned["/events"] = (503, {"kind": "broker_away", "detail": "Kafka does not answer"})
    fake.start()
    expect(opened.locator("#connection")).to_have_text("no connection")
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("accepted")
    while len(dialled) < 4:
        opened.wait_for_timeout(100)
    assert opened.evaluate("window.states") == ["lost"]
    del fake.canned["/events"]
    expect(opened.locator("#connection")).to_have_text("live")
    expect(said(opened, 1)).to_have_text("counted")
