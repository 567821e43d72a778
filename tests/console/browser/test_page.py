"""The page around its views: keyboard, themes, phone, many cards."""

from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browser.conftest import card_of, said
from tests.console.browser.fake import Fake, card

MANY = 500
DRAWN = "() => [document.querySelectorAll('.card canvas').length, document.querySelectorAll('.card').length]"


def test_tab_reaches_one_card_and_its_buttons(opened: Page) -> None:
    """Tab goes from the shell to one card and its buttons, not through all of them; the focus is visible."""
    opened.keyboard.press("j")
    opened.keyboard.press("j")
    names = []
    for _ in range(4):
        opened.keyboard.press("Tab")
        names.append(opened.evaluate("document.activeElement.textContent"))
    assert names == ["oOverride", "lLike", "nNeutral", "Why↵"]
    assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert opened.evaluate("document.querySelectorAll('.card[tabindex=\"0\"]').length") == 1


def test_the_keys_are_told(opened: Page) -> None:
    """`?` lists the keys of the view and of the page; Escape closes the list, and the focus is back."""
    opened.keyboard.press("j")
    opened.keyboard.press("?")
    expect(opened.get_by_role("dialog")).to_contain_text("override: this was unwanted")
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("dialog")).to_have_count(0)
    expect(card_of(opened, 1)).to_be_focused()


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_the_systems_unless_it_is_switched(chromium: Browser, fake: Fake, system: Literal["light", "dark"]) -> None:
    """Without a choice the system's theme; a choice lasts over a reload, before anything is painted."""
    context = chromium.new_context(color_scheme=system)
    page = context.new_page()
    page.goto(f"{fake.url}/queue")
    is_light = "() => parseInt(getComputedStyle(document.documentElement).backgroundColor.slice(4)) > 128"
    assert page.evaluate(is_light) == (system == "light")
    for theme in ("light", "dark"):
        page.locator("#theme").click()
        page.reload()
        assert page.evaluate(is_light) == (theme == "light")
    context.close()


def test_a_phone_needs_no_scrolling_aside(chromium: Browser, fake: Fake) -> None:
    """At 360 px nothing is wider than the page, with the reasons open and without a connection; targets are as large as a finger."""
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    context.add_init_script("localStorage.setItem('npo.operator', 'emma-with-a-long-name')")
    page = context.new_page()
    page.goto(f"{fake.url}/queue")
    wide = "() => document.documentElement.scrollWidth"
    expect(page.locator("#connection")).to_have_text("live")
    assert page.evaluate(wide) == 360
    box = card_of(page, 1).locator(".like").bounding_box()
    assert box is not None
    assert box["height"] >= 44
    card_of(page, 2).locator(".override").tap()
    expect(page.locator(".override-form")).to_be_visible()
    fake.stop()
    expect(page.locator("#banner")).to_be_visible()
    assert page.evaluate(wide) == 360
    fake.start()
    page.get_by_text("Too risky now").tap()
    page.get_by_role("button", name="Send override").tap()
    expect(said(page, 2)).to_have_text("counted")
    context.close()


def test_five_hundred_cards_cost_what_is_seen(page: Page) -> None:
    """All are there, few have a chart at a time however far one scrolls, and the rest is not laid out."""
    fake = Fake([card(number) for number in range(1, MANY + 1)])
    fake.start()
    page.goto(f"{fake.url}/queue")
    expect(page.locator(".card")).to_have_count(MANY)
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).contentVisibility") == "auto"
    for press in ("End", "Home", "End"):
        page.keyboard.press(press)
        number = MANY if press == "End" else 1
        expect(card_of(page, number)).to_be_focused()
        expect(card_of(page, number).locator("canvas")).to_have_count(1)
    canvases, cards = page.evaluate(DRAWN)
    assert cards == MANY
    assert canvases < 20
    page.keyboard.press("l")
    expect(said(page, MANY)).to_have_text("counted")
    fake.close()
