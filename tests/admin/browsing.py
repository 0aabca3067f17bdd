"""What officers do in a browser, and what they see there."""

import os
from pathlib import Path

import pytest
from django.urls import reverse

from tests.browsers import chromium

# Set to a folder, it has the pictures of the documentation made anew.
PICTURES = os.environ.get("ENVELOPE_TEST_PICTURES")

in_a_browser = [
    pytest.mark.any_database,
    pytest.mark.any_django,
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.skipif(chromium() is None, reason="no Chromium, or no Playwright"),
]


def log_in(page, name):
    page.goto(reverse("admin:login"))
    page.fill("#id_username", name)
    page.fill("#id_password", "secret")
    page.keyboard.press("Enter")
    page.wait_for_selector("#user-tools")


def act(page, name):
    page.click(f'.object-tools [data-operation="{name}"]')


def confirm(page):
    page.click('input[type="submit"].default')
    page.wait_for_selector(".messagelist")
    return page.inner_text(".messagelist")


def picture(page, name):
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def tab_to(page, selector):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached by the Tab key")


def brightness(colour):
    red, green, blue = (int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return 0.3 * red + 0.6 * green + 0.1 * blue
