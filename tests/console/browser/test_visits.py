"""What a visit of the queue leaves to the next, or to the page that comes after a reload: the cards whose answers are not over."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from streams.console.views import Me
from tests.console.browser.conftest import card_of, said, sent
from tests.console.browser.fake import Fake

BROKER_AWAY = (503, "broker_away", "Kafka does not answer")
REDIS_AWAY = (503, {"kind": "read_model_away", "detail": "Redis does not answer; try again, nothing is lost"})
HOSTS = [f"{number:016x}" for number in (2, 2001, 2002, 2003)]
# Only the token names them: until `/me` has come, the page does not know who asks.
NAMED = Me("emma@laptop", "operator", "op-7", None, tokens=True)
QUEUE, ME = "**/api/v1/queue*", "**/api/v1/me"


def kept_back(page: Page, pattern: str) -> list[Route]:
    """Keep the requests of a pattern back from now on, and return them as they come."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    return held


def let_go(page: Page, pattern: str, held: list[Route]) -> None:
    """Let a pattern's first request on its way, and those to come."""
    while not held:
        page.wait_for_timeout(100)
    held[0].continue_()
    page.unroute(pattern)


def logged(page: Page, fake: Fake, number: int) -> None:
    """Wait until the log has so many answers."""
    while len(fake.log) < number:
        page.wait_for_timeout(100)


def goes(page: Page, view: str) -> None:
    """Go to a view by its link, and wait until it is shown."""
    page.get_by_role("link", name=view, exact=True).click()
    expect(page.locator("main")).to_have_attribute("data-view", view.lower())
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")


def counted_elsewhere(page: Page, fake: Fake) -> None:
    """Like card 1, and have that counted while the loop is shown."""
    fake.hold()
    card_of(page, 1).locator(".like").click()
    expect(said(page, 1)).to_have_text("sending…")
    goes(page, "Loop")
    fake.release()
    logged(page, fake, 1)


def test_an_answer_can_be_taken_back_after_a_reload(opened: Page, fake: Fake) -> None:
    """The card of an answer that has not taught yet stays in its place over a reload."""
    card_of(opened, 3).locator(".like").click()
    expect(said(opened, 3)).to_have_text("counted")
    opened.reload()
    expect(said(opened, 3)).to_have_text("counted")
    expect(opened.locator(".card").nth(2)).to_have_attribute("data-id", f"{3:016x}")
    card_of(opened, 3).focus()
    opened.keyboard.press("u")
    expect(card_of(opened, 3)).to_contain_text("You: taken back")
    assert sent(fake) == [(3, "like", 1), (3, "retract", 2)]


def test_an_answer_sent_before_the_queue_is_read_anew_is_still_shown(opened: Page, fake: Fake) -> None:
    """A card to which the page that came after a reload had sent the answer first is shown all the same, and can be taken back."""
    fake.fail_next = [BROKER_AWAY] * 1000
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("kept in this browser; sent when the connection is back")
    held = kept_back(opened, QUEUE)
    opened.reload()
    while not held:
        opened.wait_for_timeout(100)
    fake.fail_next = []
    logged(opened, fake, 1)
    let_go(opened, QUEUE, held)
    expect(said(opened, 1)).to_have_text("counted")
    expect(opened.locator(".card").first).to_have_attribute("data-id", f"{1:016x}")
    expect(card_of(opened, 1)).to_contain_text("u takes it back")
    assert sent(fake) == [(1, "like", 1)]


def test_an_answer_to_several_hosts_that_a_reload_overtook_is_taken_back_from_all(opened: Page, fake: Fake) -> None:
    """Hosts whose answers were accepted before a reload and counted before the queue was read are all asked about."""
    fake.quiet = True
    card_of(opened, 2).locator(".answer.like").click()
    expect(said(opened, 2)).to_have_text("accepted")
    held = kept_back(opened, QUEUE)
    opened.reload()
    for each in HOSTS:
        fake.answer(each, "emma", "like")
    fake.quiet = False
    while len(fake.standing) < len(HOSTS):
        opened.wait_for_timeout(100)
    let_go(opened, QUEUE, held)
    expect(said(opened, 2)).to_have_text("counted")
    card_of(opened, 2).focus()
    opened.keyboard.press("u")
    expect(card_of(opened, 2)).to_contain_text("You: taken back")
    logged(opened, fake, 2 * len(HOSTS))
    assert sorted(each["decision"] for each in fake.log[len(HOSTS) :]) == sorted(HOSTS)


def test_what_is_left_is_told_once_the_server_has_said_who_asks(page: Page, fake: Fake) -> None:
    """Answers that are on the log though their 201s were lost are counted after a reload, also where `/me` comes last."""
    fake.me = NAMED
    page.goto(f"{fake.url}/queue")
    expect(page.locator("#operator")).to_have_text("op-7")
    fake.fail_next = [BROKER_AWAY] * len(HOSTS)
    card_of(page, 2).locator(".answer.like").click()
    expect(said(page, 2)).to_contain_text("kept in this browser")
    fake.lose_next = len(HOSTS)
    held = kept_back(page, ME)
    logged(page, fake, len(HOSTS))
    page.reload()
    expect(card_of(page, 2)).to_be_visible()
    let_go(page, ME, held)
    expect(said(page, 2)).to_have_text("counted")
    expect(card_of(page, 2)).not_to_contain_text("Answered meanwhile")
    assert len(fake.log) == len(HOSTS)


def test_a_reload_before_the_server_has_said_who_asks_forgets_nothing(page: Page, fake: Fake) -> None:
    """Cards that are left stay left where a page is gone before it knew whose answers they hold."""
    fake.me = NAMED
    page.goto(f"{fake.url}/queue")
    expect(page.locator("#operator")).to_have_text("op-7")
    card_of(page, 3).locator(".like").click()
    expect(said(page, 3)).to_have_text("counted")
    kept_back(page, ME)
    page.reload()
    expect(card_of(page, 3)).to_be_visible()
    page.unroute(ME)
    page.reload()
    expect(said(page, 3)).to_have_text("counted")


def test_an_answer_counted_while_another_view_is_shown_is_told_afterwards(opened: Page, fake: Fake) -> None:
    """What the queue's stream could not tell, because the queue was not shown, is asked for when it is again."""
    counted_elsewhere(opened, fake)
    goes(opened, "Queue")
    expect(said(opened, 1)).to_have_text("counted")
    opened.keyboard.press("r")
    expect(card_of(opened, 1)).to_have_count(0)


def test_an_answer_taken_back_while_another_view_is_shown_is_told_afterwards(opened: Page, fake: Fake) -> None:
    """The server lists the card again, and its queue tells that the retraction is counted."""
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("counted")
    fake.hold()
    opened.keyboard.press("u")
    expect(said(opened, 1)).to_have_text("sending…")
    goes(opened, "Loop")
    fake.release()
    logged(opened, fake, 2)
    goes(opened, "Queue")
    expect(said(opened, 1)).to_have_text("counted")


@pytest.mark.parametrize("by", ["reload", "view"])
def test_an_answer_to_one_host_alone_is_left_with_its_card(opened: Page, fake: Fake, by: str) -> None:
    """A card that is listed for its other hosts still shows the host that the server no longer lists, and what became of its answer."""
    fake.hold()
    card_of(opened, 2).locator("summary").click()
    card_of(opened, 2).get_by_role("group", name="Answer for web-2001 alone").get_by_role("button", name="like").click()
    expect(said(opened, 2)).to_have_text("sending… (1 of 4 hosts)")
    if by == "view":
        goes(opened, "Loop")
    fake.release()
    logged(opened, fake, 1)
    if by == "view":
        goes(opened, "Queue")
    else:
        expect(said(opened, 2)).to_have_text("counted (1 of 4 hosts)")
        opened.reload()
    expect(said(opened, 2)).to_have_text("counted (1 of 4 hosts)")
    expect(card_of(opened, 2).locator("summary")).to_contain_text("One answer goes to 4 hosts")


def test_a_look_at_another_scope_forgets_nothing(opened: Page, fake: Fake) -> None:
    """Cards of scopes that are filtered out are left to the next visit too."""
    card_of(opened, 3).locator(".like").click()
    expect(said(opened, 3)).to_have_text("counted")
    opened.get_by_label("Scope").select_option("shop")
    expect(opened).to_have_url(f"{fake.url}/queue?scope=shop")
    expect(opened.locator("main")).to_have_attribute("aria-busy", "false")
    opened.go_back()
    expect(said(opened, 3)).to_have_text("counted")


def test_what_could_not_be_asked_is_asked_again(opened: Page, fake: Fake) -> None:
    """Where the server could not tell what became of an answer, the next read of the queue asks anew."""
    counted_elsewhere(opened, fake)
    path = f"/recommendations/{1:016x}"
    fake.canned[path] = REDIS_AWAY
    goes(opened, "Queue")
    while path not in fake.gets:
        opened.wait_for_timeout(100)
    expect(said(opened, 1)).to_have_text("accepted")
    del fake.canned[path]
    fake.told(f"{5:016x}")
    expect(said(opened, 1)).to_have_text("counted")


@pytest.mark.parametrize("left", ["{", "{}", '[{"place": 0, "card": {"scope": "shop"}}]', '[{"card": {"members": []}}]'])
def test_what_another_version_of_the_page_has_left_is_passed_over(opened: Page, fake: Fake, left: str) -> None:
    """The queue is shown whatever the browser holds under the name."""
    goes(opened, "Loop")
    opened.evaluate("left => sessionStorage.setItem('npo.left', left)", left)
    opened.goto(f"{fake.url}/queue")
    expect(opened.locator(".card")).to_have_count(8)


def test_no_card_is_selected_after_a_reload(opened: Page, fake: Fake) -> None:
    """A key that nobody expects to act answers nothing: selected is what is selected on this page."""
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    goes(opened, "Loop")
    opened.goto(f"{fake.url}/queue")
    expect(opened.locator(".card")).to_have_count(8)
    expect(opened.locator(".card.selected")).to_have_count(0)
    opened.keyboard.press("l")
    expect(opened.locator("#live")).to_contain_text("press the key again to answer")
    assert fake.posts == []


def test_a_late_reply_leaves_the_title_of_the_view_that_is_shown(opened: Page, fake: Fake) -> None:
    """What the queue has asked for is for the queue alone: it draws nothing once another view is shown."""
    counted_elsewhere(opened, fake)
    pattern = "**/api/v1/recommendations/*"
    held = kept_back(opened, pattern)
    goes(opened, "Queue")
    while not held:
        opened.wait_for_timeout(100)
    goes(opened, "Loop")
    let_go(opened, pattern, held)
    opened.wait_for_timeout(500)
    expect(opened).not_to_have_title(re.compile("Queue"))
