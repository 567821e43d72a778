"""The page on the real console: broker, deciding worker, publisher, read model, event stream, and Chromium."""

import re
import sys

import pytest
from playwright.sync_api import Page, expect

from schemas.settings import Deployment
from streams.embedded import start_child
from streams.stack import environment, run_aside
from tests.deciding_worker import PATIENCE_S, send_scenarios, unusual

COMMAND = [sys.executable, "-m", "streams.engine.worker", "deciding"]


@pytest.mark.timeout(300)  # a broker, a worker and a browser start
def test_an_answer_goes_the_whole_way(console: str, deployment: Deployment, page: Page) -> None:
    """A scenario becomes a card; a key becomes an answer on the log that the pipeline counts; undo takes it back; override stands.

    The kill switch of the page comes into force, and resume takes it back.
    """
    worker = start_child("worker", COMMAND, deployment.home / "worker.log", environment=environment(deployment))
    try:
        run_aside(send_scenarios(deployment, [unusual(number) for number in range(1, 6)]))
        page.goto(f"{console}/queue")
        expect(page.locator("#connection")).to_have_text("live")
        card, became = page.locator(".card").first, page.locator(".card").first.locator(".became")
        expect(card).to_contain_text("confidence")
        page.keyboard.press("j")
        page.keyboard.press("l")
        expect(became).to_have_text("counted")
        page.keyboard.press("u")
        expect(card).to_contain_text("You: taken back")
        expect(became).to_have_text("counted")
        page.keyboard.press("o")
        page.keyboard.press("6")
        page.keyboard.press("Enter")
        expect(card).to_contain_text("You: override (already in hand)")
        expect(became).to_have_text("counted")
        page.goto(f"{console}/loop")
        told = page.locator("#switches .told")
        for command in ("Kill switch", "Resume"):
            page.get_by_role("button", name=command).click()
            page.get_by_role("dialog", name=f"{command}?").locator("button[type=submit]").click()
            expect(told).to_contain_text(re.compile(f"^{command} in scope .* is in force"))
        expect(told).to_contain_text("It takes back: killed")
        worker.raise_if_ended()
    finally:
        worker.stop(PATIENCE_S)
