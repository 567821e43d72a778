"""The queue in a real browser: what a card shows, answers by key and button, what becomes of them."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, BrowserContext, Page, expect

from schemas.events import Answer, Command, Control
from streams.console.views import InForce, Me
from tests.console.browser.conftest import card_of, said, sent, watch
from tests.console.browser.fake import NOW_MS, Fake, card


def test_a_card_shows_all_that_an_answer_needs(opened: Page) -> None:
    """Entity, symptoms as a sentence, chart, action with blast radius, confidence against threshold, answers to the like, deadline."""
    first = card_of(opened, 2)
    for words in (
        "web-2, web-2001 and 2 more",
        "Error rate 8 × its usual for 2 min; 2 of 12 other hosts alike",
        "roll-back",
        "touches 5 hosts each",
        "cannot be undone",
        "confidence 0.96 against 0.80",
        "15 answers to the like before: 12 likes, 3 overrides",
        "answer within 3 h 58 min",
    ):
        expect(first).to_contain_text(words)
    expect(first.locator("canvas")).to_have_count(1)


def test_accepted_is_shown_only_when_the_log_has_the_answer(opened: Page, fake: Fake) -> None:
    """`sending` until the 201, `accepted` from then on, `counted` when the event stream tells that it stands."""
    fake.quiet = True
    fake.hold()
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("sending…")
    assert fake.log == []
    fake.release()
    expect(said(opened, 1)).to_have_text("accepted")
    fake.answer(f"{1:016x}", "emma", "like")
    expect(said(opened, 1)).to_have_text("counted")
    expect(card_of(opened, 1)).to_contain_text("u takes it back: 2 min left")
    expect(opened.locator("#live")).to_contain_text("web-1: like accepted")
    assert sent(fake) == [(1, "like", 1)]


def test_an_override_takes_its_reason_by_digit_and_a_note(opened: Page, fake: Fake) -> None:
    """`o`, a digit, a note, Enter: one override with reason and note; digits in the note are text."""
    opened.keyboard.press("j")
    opened.keyboard.press("o")
    opened.keyboard.press("Enter")
    expect(card_of(opened, 1).locator(".wrong")).to_have_text("Pick a reason first: keys 1 to 9.")
    opened.keyboard.press("2")
    opened.keyboard.press("Tab")
    opened.keyboard.type("load test until 4")
    opened.keyboard.press("Enter")
    expect(said(opened, 1)).to_have_text("counted")
    assert [(each["kind"], each["reason"], each["note"]) for each in fake.log] == [("override", "planned_work", "load test until 4")]
    expect(card_of(opened, 1)).to_be_focused()


def test_escape_leaves_an_override(opened: Page, fake: Fake) -> None:
    """Escape closes the reasons, sends nothing, and the focus is back on the card."""
    opened.keyboard.press("j")
    opened.keyboard.press("o")
    opened.keyboard.press("3")
    opened.keyboard.press("Escape")
    expect(opened.locator(".override-form")).to_have_count(0)
    expect(card_of(opened, 1)).to_be_focused()
    assert fake.posts == []


def test_an_answer_can_be_taken_back_and_given_anew(opened: Page, fake: Fake) -> None:
    """`u` retracts and the card is open again; after a reload the next answer still has a higher revision than all before it."""
    opened.keyboard.press("j")
    opened.keyboard.press("n")
    expect(said(opened, 1)).to_have_text("counted")
    opened.keyboard.press("u")
    expect(card_of(opened, 1)).to_contain_text("You: taken back")
    expect(card_of(opened, 1)).not_to_contain_class("done")
    opened.reload()
    expect(card_of(opened, 1)).to_be_visible()
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("counted")
    assert sent(fake) == [(1, "neutral", 1), (1, "retract", 2), (1, "like", 3)]


def test_a_double_click_answers_once(opened: Page, fake: Fake) -> None:
    """Two clicks, and then the key as well, are one answer; the card stays where it was."""
    button = card_of(opened, 3).locator(".like")
    before = button.bounding_box()
    button.dblclick()
    expect(said(opened, 3)).to_have_text("counted")
    opened.keyboard.press("l")
    expect(opened.locator("#live")).to_contain_text("You have said like to web-3 already")
    expect(card_of(opened, 3).locator(".card-hint")).to_have_text("You have said like to web-3 already")
    assert len(fake.posts) == 1
    assert button.bounding_box() == before


def test_a_change_of_mind_is_the_next_revision(opened: Page, fake: Fake) -> None:
    """A like that is still on its way and an override after it: both revisions in order, the later one is what is shown."""
    fake.hold()
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("sending…")
    opened.keyboard.press("o")
    opened.keyboard.press("1")
    opened.keyboard.press("Enter")
    fake.release()
    expect(card_of(opened, 1)).to_contain_text("You: override (nothing is wrong)")
    expect(said(opened, 1)).to_have_text("counted")
    assert sorted(sent(fake)) == [(1, "like", 1), (1, "override", 2)]


def test_one_answer_goes_to_every_host_of_a_card(opened: Page, fake: Fake) -> None:
    """A card of four hosts sends four answers, and says of how many the worst state is; one host can be answered alone."""
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    opened.keyboard.press("m")
    card_of(opened, 2).get_by_role("group", name="Answer for web-2002 alone").get_by_role("button", name="neutral").click()
    expect(said(opened, 2)).to_have_text("counted (1 of 4 hosts)")
    opened.keyboard.press("l")
    expect(said(opened, 2)).to_have_text("counted")
    assert sorted(sent(fake)) == sorted([(2002, "neutral", 1), (2, "like", 1), (2001, "like", 1), (2002, "like", 2), (2003, "like", 1)])


def test_a_late_answer_says_that_it_counts_for_trust_only(opened: Page, fake: Fake) -> None:
    """An answer to a decision that closed meanwhile is accepted, and ends as late."""
    decision = f"{4:016x}"
    fake.closed.add(decision)
    fake.told(decision, life="expired")
    expect(card_of(opened, 4)).to_contain_text("Closed: nobody answered in time")
    card_of(opened, 4).locator(".like").click()
    expect(said(opened, 4)).to_have_text("late: counts for trust only")


def test_a_refusal_of_the_pipeline_is_shown(opened: Page, fake: Fake) -> None:
    """An accepted answer whose record becomes a dead letter ends as refused, with the reason."""
    fake.quiet = True
    card_of(opened, 1).locator(".like").click()
    expect(said(opened, 1)).to_have_text("accepted")
    event = {"decision": f"{1:016x}", "operator": "emma", "kind": "like", "revision": 1}
    refused = {
        "topic": "feedback",
        "partition": 0,
        "offset": 0,
        "reason": "too_many_answers",
        "detail": "100 answers already",
        "event": event,
    }
    fake.push("refused", refused, topic="feedback.dlq")
    expect(said(opened, 1)).to_have_text("refused: 100 answers already")
    expect(card_of(opened, 1)).not_to_contain_class("done")


def test_a_contradiction_is_told_and_the_next_answer_is_newer(opened: Page, fake: Fake) -> None:
    """Revision 1 said something else elsewhere: refused with the reason; the same key again sends revision 2."""
    fake.log.append({"decision": f"{1:016x}", "operator": "emma", "kind": "neutral", "reason": None, "note": None, "revision": 1})
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_contain_text("refused: revision 1 of emma says neutral")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("counted")
    assert sent(fake)[-1] == (1, "like", 2)


def test_the_name_is_asked_once(chromium: Browser, fake: Fake) -> None:
    """Without a token the first answer asks who answers; the browser remembers it."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{fake.url}/queue")
    card_of(page, 1).locator(".like").click()
    page.get_by_label("Name").fill("ana")
    page.keyboard.press("Enter")
    expect(said(page, 1)).to_have_text("counted")
    page.reload()
    card_of(page, 3).locator(".like").click()
    expect(said(page, 3)).to_have_text("counted")
    assert [each["operator"] for each in fake.log] == ["ana", "ana"]
    context.close()


def test_who_may_only_look_cannot_answer(page: Page, fake: Fake) -> None:
    """A viewer's buttons are off, and the keys say so."""
    fake.me = Me("wall", "viewer", None, None, tokens=True)
    page.goto(f"{fake.url}/queue")
    expect(page.locator("#operator")).to_contain_text("may look, not answer")
    expect(card_of(page, 1).locator(".like")).to_be_disabled()
    page.keyboard.press("j")
    page.keyboard.press("l")
    expect(page.locator("#live")).to_contain_text("Your token may look, not answer.")
    expect(card_of(page, 1).locator(".card-hint")).to_have_text("Your token may look, not answer.")
    assert fake.posts == []


def test_another_operator_is_seen_at_once_and_both_stand(opened: Page, context: BrowserContext, fake: Fake) -> None:
    """Two pages, two operators: each sees the other's answer as it comes, and both stand."""
    other = context.browser.new_context() if context.browser else context
    other.add_init_script("localStorage.setItem('npo.operator', 'ben')")
    second = other.new_page()
    second.goto(f"{fake.url}/queue")
    expect(second.locator("#connection")).to_have_text("live")
    card_of(opened, 1).locator(".like").click()
    expect(card_of(second, 1)).to_contain_text("emma says like")
    expect(card_of(second, 1)).to_contain_text("Answered meanwhile; you can still say otherwise.")
    card_of(second, 1).locator(".override").click()
    second.keyboard.press("3")
    second.keyboard.press("Enter")
    expect(card_of(opened, 1)).to_contain_text("ben says override (wrong action)")
    expect(said(opened, 1)).to_have_text("counted")
    expect(said(second, 1)).to_have_text("counted")
    assert {each.kind for each in fake.standing[f"{1:016x}"].values()} == {Answer.LIKE, Answer.OVERRIDE}
    other.close()


STREAM = (
    ': here\n\nid: a\nevent: recommendation\ndata: {"event":\ndata: "ä"}\n\n: still\n\n'
    'id: b\r\nevent: refused\r\ndata: {"x": 1}\r\n\r\nid: c\n\nevent'
)
READ = """async (pieces) => {
  const { parser } = await import("/static/api.js");
  const got = [];
  const parse = parser((each) => got.push(each));
  pieces.forEach(parse);
  return got;
}"""


@settings(max_examples=30)
@given(cuts=st.sets(st.integers(1, len(STREAM) - 1), max_size=8))
def test_the_event_stream_is_read_alike_however_it_is_cut(stream_page: Page, cuts: set[int]) -> None:
    """Any way in which the bytes come in pieces gives the same events."""
    pieces = [STREAM[start:end] for start, end in pairwise(sorted({0, len(STREAM), *cuts}))]
    assert stream_page.evaluate(READ, pieces) == [
        {"event": "recommendation", "id": "a", "data": {"event": "ä"}},
        {"event": "refused", "id": "b", "data": {"x": 1}},
        {"event": "", "id": "c", "data": None},
    ]


@pytest.fixture(scope="module")
def stream_page(chromium: Browser) -> Iterator[Page]:
    """A page that has the modules at hand."""
    fake = Fake([card(1)])
    fake.start()
    page = chromium.new_page()
    page.goto(f"{fake.url}/static/icon.svg")
    yield page
    page.close()
    fake.close()


def test_a_card_is_done_when_every_host_has_an_answer(opened: Page) -> None:
    """One host of four answered leaves the card to be answered; the rest of them put it among the done."""
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    opened.keyboard.press("m")
    card_of(opened, 2).get_by_role("group", name="Answer for web-2002 alone").get_by_role("button", name="like").click()
    expect(said(opened, 2)).to_have_text("counted (1 of 4 hosts)")
    expect(card_of(opened, 2)).not_to_contain_class("done")
    opened.keyboard.press("l")
    expect(card_of(opened, 2)).to_contain_class("done")
    expect(opened).to_have_title("(7) Queue · NPO")


def test_no_key_answers_a_card_out_of_sight(opened: Page, fake: Fake) -> None:
    """The first press brings the selected card back into sight; `g l` goes to the loop and likes nothing."""
    opened.keyboard.press("j")
    opened.mouse.move(600, 500)
    opened.mouse.wheel(0, 1500)
    expect(card_of(opened, 1)).not_to_be_in_viewport()
    opened.keyboard.press("l")
    expect(card_of(opened, 1)).to_be_in_viewport()
    expect(opened.locator("#live")).to_contain_text("web-1 is selected; press the key again to answer")
    expect(card_of(opened, 1).locator(".card-hint")).to_have_text("web-1 is selected; press the key again to answer")
    opened.keyboard.press("g")
    opened.keyboard.press("l")
    expect(opened.locator("main")).to_have_attribute("data-view", "loop")
    assert fake.posts == []


def test_the_queue_is_as_it_was_after_a_look_at_why(opened: Page) -> None:
    """Enter shows why, back returns to the same card, and an answer can still be taken back."""
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 1)).to_have_text("counted")
    opened.keyboard.press("Enter")
    expect(opened).to_have_url(re.compile("/why/0+1$"))
    expect(opened.locator("main")).to_have_attribute("aria-busy", "false")
    opened.go_back()
    expect(opened.locator("main")).to_have_attribute("aria-busy", "false")
    expect(card_of(opened, 1)).to_be_focused()
    expect(said(opened, 1)).to_have_text("counted")
    opened.keyboard.press("u")
    expect(card_of(opened, 1)).to_contain_text("You: taken back")


def test_an_answer_goes_to_the_open_hosts_of_a_card(opened: Page, fake: Fake) -> None:
    """A host whose recommendation has closed is not answered with the others, nor counted; where all have closed, all are answered."""
    closed, others = f"{2001:016x}", [2, 2002, 2003]
    fake.closed.add(closed)
    fake.told(closed, life="expired")
    expect(card_of(opened, 2).locator("summary")).to_contain_text("One answer goes to 3 hosts")
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    opened.keyboard.press("l")
    expect(said(opened, 2)).to_have_text("counted")
    expect(card_of(opened, 2)).to_contain_class("done")
    assert sorted(sent(fake)) == [(number, "like", 1) for number in others]


def test_a_card_whose_hosts_have_all_closed_is_answered_whole(opened: Page, fake: Fake) -> None:
    """Late answers go to every host of a card that has closed."""
    numbers = [2, 2001, 2002, 2003]
    for number in numbers:
        fake.closed.add(f"{number:016x}")
        fake.told(f"{number:016x}", life="expired")
    expect(card_of(opened, 2)).to_contain_text("Closed: nobody answered in time")
    card_of(opened, 2).locator(".like").first.click()
    expect(said(opened, 2)).to_have_text("late: counts for trust only")
    assert sorted(sent(fake)) == [(number, "like", 1) for number in numbers]


def test_who_asks_is_asked_again_when_it_is_needed(page: Page, fake: Fake) -> None:
    """Where the server could not say who is at the page, an answer asks it again: refused with its words, or given."""
    fake.canned["/me"] = (503, {"detail": "the console starts"})
    page.goto(f"{fake.url}/queue")
    card_of(page, 1).locator(".like").click()
    expect(card_of(page, 1).locator(".card-hint")).to_have_text(
        "Not answered; press again. It is not known what you may do: the console starts"
    )
    assert fake.posts == []
    del fake.canned["/me"]
    card_of(page, 1).locator(".like").click()
    expect(said(page, 1)).to_have_text("counted")
    expect(card_of(page, 1).locator(".card-hint")).to_have_text("")


def test_letters_beside_the_list_do_nothing(opened: Page, fake: Fake) -> None:
    """With the focus on a button of the page's head no letter selects or answers; back in the list they do."""
    opened.keyboard.press("j")
    expect(card_of(opened, 1)).to_be_focused()
    opened.locator("#theme").focus()
    for key in "jlnor":
        opened.keyboard.press(key)
    expect(card_of(opened, 1)).to_contain_class("selected")
    expect(opened.locator(".override-form")).to_have_count(0)
    card_of(opened, 1).focus()
    opened.keyboard.press("n")
    expect(said(opened, 1)).to_have_text("counted")
    assert sent(fake) == [(1, "neutral", 1)]


@pytest.mark.parametrize("reason", ["constructor", "toString", "__proto__", "hasOwnProperty"])
def test_a_reason_of_any_name_is_shown(opened: Page, fake: Fake, reason: str) -> None:
    """What another operator gives as the reason is shown as it is, whatever name it is."""
    fake.answer(f"{1:016x}", "ben", "override", reason=reason)
    expect(card_of(opened, 1)).to_contain_text(f"ben says override ({reason.lower()})")


def test_one_bad_card_stops_no_other(context: BrowserContext, fake: Fake) -> None:
    """A card that cannot be drawn shows what it is about, and that it is not whole; the others are drawn, and redrawn with it."""
    fake.cards[0] = card(1, confidence="high")
    page = context.new_page()
    faults = watch(page)
    page.goto(f"{fake.url}/queue")
    expect(page.locator(".card")).to_have_count(8)
    expect(card_of(page, 1)).to_contain_text("web-1")
    expect(card_of(page, 1)).to_contain_text("This card could not be shown in full; Why tells the rest.")
    expect(page.locator("#connection")).to_have_text("live")
    fake.answer(f"{1:016x}", "ben", "like")
    fake.answer(f"{3:016x}", "ben", "like")
    expect(card_of(page, 3)).to_contain_text("ben says like")
    assert faults


def test_the_queue_says_what_stops_recommendations(opened: Page, fake: Fake) -> None:
    """Under the kill switch the queue says so at once, with who and why, and no more when it is off; a freeze stops none."""
    expect(opened.get_by_text("The kill switch is on")).to_have_count(0)
    fake.in_force = [InForce("killed", "anna", NOW_MS, "storm", "shop"), InForce("frozen", "anna", NOW_MS, "", "*")]
    fake.push("control", Control(Command.KILL, NOW_MS, "anna", "shop"))
    expect(opened.locator("ul.notices")).to_contain_text("The kill switch is on: nothing is surfaced. shop, by anna")
    expect(opened.locator("ul.notices")).to_contain_text("storm")
    expect(opened.locator("ul.notices")).not_to_contain_text("Frozen")
    fake.in_force = []
    fake.push("control", Control(Command.RESUME, NOW_MS, "anna", "shop"))
    expect(opened.get_by_text("The kill switch is on")).to_have_count(0)
