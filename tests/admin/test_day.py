"""The day of a security officer, in a real browser."""

import pytest
from django.urls import reverse

from envelope_fields import audit
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, KeyGrant, MasterKey
from envelope_fields.policy import Action
from tests.admin import officer
from tests.admin.browsing import act, brightness, confirm, in_a_browser, log_in, picture, tab_to
from tests.models import TenantNote

pytestmark = in_a_browser
LIST = reverse("admin:envelope_fields_masterkey_changelist")


@pytest.fixture
def tenant():
    key = create_master_key("clinic/north", description="The notes of the northern clinic")
    TenantNote.objects.create(tenant="clinic/north", text="a", data={"b": 1})
    TenantNote.objects.create(tenant="clinic/north", text="a")
    return key


def test_the_day(page, tenant, admin_user):
    olga = officer("olga", key=tenant)
    grant("default", olga, list(Action))
    colleague = officer("karl", permissions=["view_masterkey"])

    log_in(page, "olga")
    page.goto(LIST)
    picture(page, "key-list")
    page.click("text=clinic/north")
    assert "3 stored values are under this key" in page.inner_text("#envelope-values")

    act(page, "rotate")
    assert "3 stored values stay where they are" in page.inner_text(".envelope-consequences")
    picture(page, "rotate")
    assert "version 2 is current" in confirm(page)
    assert tenant.versions.count() == 2
    TenantNote.objects.create(tenant="clinic/north", text="new")
    page.reload()
    picture(page, "key")

    page.click("text=Grant rights")
    page.fill("#id_name", "karl")
    for action in ("decrypt", "describe"):
        page.check(f'input[name="actions"][value="{action}"]')
    picture(page, "grant")
    confirm(page)
    granted = KeyGrant.objects.get(principal_id=str(colleague.pk))
    assert granted.actions == ["decrypt", "describe"]

    page.click(f'a[href*="grants/{granted.pk}/revoke"]')
    assert "karl may no longer: decrypt, describe." in page.inner_text(".envelope-consequences")
    confirm(page)
    assert not KeyGrant.objects.filter(pk=granted.pk).exists()

    act(page, "disable")
    confirm(page)
    tenant.refresh_from_db()
    assert tenant.state == "disabled"
    act(page, "enable")
    confirm(page)
    act(page, "schedule_deletion")
    assert "4 stored values would be lost" in page.inner_text(".envelope-consequences")
    assert page.query_selector("#id_days") is None
    page.click("text=Back")

    empty = create_master_key("unused", actor=olga)
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[empty.pk]))
    act(page, "schedule_deletion")
    page.fill("#id_days", "7")
    confirm(page)
    act(page, "cancel_deletion")
    confirm(page)
    empty.refresh_from_db()
    assert empty.state == "disabled"

    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[tenant.pk]))
    for step in (1, 2):
        act(page, "shred")
        assert f"Step {step} of 2" in page.inner_text(".envelope-consequences")
        page.fill("#id_confirm", "clinic/north")
        if step == 2:
            picture(page, "shred")
        confirm(page)
    tenant.refresh_from_db()
    assert tenant.state == "destroyed"

    page.click("text=All events of this key")
    text = page.inner_text("#result_list")
    for action in ("rotate", "create_grant", "revoke_grant", "disable", "enable", "shred"):
        assert action in text
    picture(page, "events")
    page.click('#logout-form button, a[href*="logout"]')
    assert audit.verify().intact


def test_a_colleague_without_rights(page, tenant):
    officer("karl", permissions=["view_masterkey", "rotate_masterkey"])
    log_in(page, "karl")
    page.goto(LIST)
    assert "clinic/north" not in page.inner_text("#content")
    answer = page.goto(
        reverse("admin:envelope_fields_masterkey_operation", args=[tenant.pk, "rotate"])
    )
    assert answer.status == 403
    default = MasterKey.objects.get(alias="default")
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[default.pk]))
    assert page.query_selector('[data-operation="rotate"]') is None
    page.goto(reverse("admin:logout").replace("logout", "login"))
    denied = AuditEvent.objects.filter(outcome="denied", actor_name="karl")
    assert denied.exists()


def test_by_keyboard_alone(page, tenant):
    officer("olga", key=tenant)
    log_in(page, "olga")
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[tenant.pk]))
    tab_to(page, '[data-operation="rotate"]')
    page.keyboard.press("Enter")
    page.wait_for_selector(".envelope-consequences")
    tab_to(page, 'input[type="submit"].default')
    page.keyboard.press("Enter")
    page.wait_for_selector(".messagelist")
    assert tenant.versions.count() == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_drawn_can_be_read(browser, live_server, tenant, scheme):
    officer("olga", key=tenant)
    context = browser.new_context(base_url=live_server.url, color_scheme=scheme)
    page = context.new_page()
    log_in(page, "olga")
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[tenant.pk]))
    picture(page, f"key-{scheme}")
    colours = page.evaluate(
        """() => [
            getComputedStyle(document.querySelector('.envelope-chart text')).fill,
            getComputedStyle(document.querySelector('.envelope-chart rect')).fill,
            getComputedStyle(document.body).backgroundColor,
        ]"""
    )
    text, bar, ground = map(brightness, colours)
    assert abs(text - ground) > 100
    assert abs(bar - ground) > 40
    assert (ground > 128) == (scheme == "light")
    context.close()


def test_on_a_narrow_screen_tables_scroll_and_the_page_does_not(page, tenant):
    officer("olga", key=tenant)
    log_in(page, "olga")
    page.set_viewport_size({"width": 380, "height": 900})
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[tenant.pk]))
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    act(page, "shred")
    page.wait_for_selector(".envelope-confirm td")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_the_longest_alias_pushes_nothing_out_of_the_page(page, as_the_application):
    longest = create_master_key("a" * 200)
    officer("olga", key=longest)
    log_in(page, "olga")
    own_page = reverse("admin:envelope_fields_masterkey_change", args=[longest.pk])
    shred = reverse("admin:envelope_fields_masterkey_operation", args=[longest.pk, "shred"])
    width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for address in (own_page, shred):
        page.goto(address)
        assert page.evaluate(width) <= 0, address
    page.goto(LIST)
    shown = """() => {
        const [state, list] = ['#result_list .field-state', '#changelist .results'].map(
            each => document.querySelector(each).getBoundingClientRect())
        return state.right <= list.right
    }"""
    assert page.evaluate(shown)


def test_a_skin_that_begins_with_nothing(page, tenant):
    officer("olga", key=tenant)
    log_in(page, "olga")
    reset = "@layer base { * { margin: 0; padding: 0; border: 0 solid; background: none } }"
    page.route("**/admin/css/**", lambda route: route.fulfill(body=reset, content_type="text/css"))
    looks_of = """([selector, name]) =>
        getComputedStyle(document.querySelector(selector)).getPropertyValue(name)"""
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[tenant.pk]))
    apart = (
        ("#envelope-versions td", "padding-left"),
        ("li > .envelope-operation", "padding-left"),
    )
    for each in apart:
        assert page.evaluate(looks_of, each) == "8px"
    text, bar = (
        brightness(page.evaluate(looks_of, [f".envelope-chart {shape}", "fill"]))
        for shape in ("text", "rect")
    )
    assert text < 50 < bar
    act(page, "shred")
    page.wait_for_selector("#id_confirm")
    assert page.evaluate(looks_of, ["#id_confirm", "border-top-width"]) == "1px"
    grave = "input.envelope-grave"
    text, ground = (
        brightness(page.evaluate(looks_of, [grave, name])) for name in ("color", "background-color")
    )
    assert text - ground > 100


def test_what_is_drawn_in_a_language_written_from_right_to_left(page, tenant, settings):
    settings.LANGUAGE_CODE = "ar"
    officer("olga", key=tenant)
    log_in(page, "olga")
    page.goto(reverse("admin:envelope_fields_masterkey_change", args=[tenant.pk]))
    assert page.get_attribute("html", "dir") == "rtl"
    hidden = page.evaluate(
        """() => [...document.querySelectorAll('.envelope-chart text')].filter(text => {
            const [inner, outer] = [text, text.closest('svg')].map(e => e.getBoundingClientRect())
            return inner.left < outer.left - 1 || inner.right > outer.right + 1
        }).map(text => text.textContent)"""
    )
    assert hidden == []
