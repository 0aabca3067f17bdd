"""Who is acting: with and without a binding, in threads, tasks and generators."""

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from multiprocessing import get_context

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory
from django.test.utils import isolate_apps
from django.views import View

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.middleware import RequestUser
from envelope_fields.policy import (
    ANONYMOUS,
    APPLICATION,
    Principal,
    acting_as,
    current_principal,
    principal_of,
    principals,
)
from envelope_fields.policy.principals import bound
from envelope_fields.policy.requests import handled

ANN = Principal("auth.user", "1", "ann")
BOB = Principal("auth.user", "2", "bob")


def in_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


class TestPrincipals:
    def test_a_user_is_named_by_type_and_primary_key(self):
        principal = principal_of(User(pk=7, username="ann"))
        assert (principal.type, principal.id, principal.name) == ("auth.user", "7", "ann")
        assert str(principal) == "auth.user 7 (ann)"

    def test_a_name_makes_no_line_of_its_own(self):
        principal = principal_of(User(pk=7, username="ann\naudit event 1: shred done"))
        assert str(principal) == r"auth.user 7 ('ann\naudit event 1: shred done')"

    def test_a_name_decides_nothing(self):
        assert principal_of(User(pk=7, username="ann")) == principal_of(User(pk=7, username="eve"))

    @isolate_apps("tests")
    def test_the_user_of_a_proxy_is_the_same(self):
        class ProxiedUser(User):
            class Meta:
                proxy = True
                app_label = "tests"

        assert principal_of(ProxiedUser(pk=7)) == principal_of(User(pk=7))

    def test_others(self):
        assert principal_of(AnonymousUser()) is ANONYMOUS
        assert principal_of(APPLICATION) is APPLICATION

    @pytest.mark.parametrize("actor", [None, "ann", 7, User(username="unsaved"), object()])
    def test_what_is_no_principal(self, actor):
        with pytest.raises(TypeError, match="neither a saved user nor"):
            principal_of(actor)
        with pytest.raises(TypeError):
            acting_as(actor)

    def test_what_only_looks_like_a_user(self):
        class Token:
            pk, is_authenticated, is_anonymous = 7, True, False

        with pytest.raises(TypeError, match="Token"):
            principal_of(Token())


class TestBinding:
    def test_outside_of_requests_it_is_the_application(self):
        assert current_principal() is APPLICATION

    def test_inside_and_after(self):
        with acting_as(ANN) as principal:
            assert principal == ANN
            assert current_principal() == ANN
            with acting_as(BOB):
                assert current_principal() == BOB
            assert current_principal() == ANN
        assert current_principal() is APPLICATION

    def test_after_an_error(self):
        with pytest.raises(ZeroDivisionError), acting_as(ANN):
            1 / 0  # noqa: B018 - it raises
        assert current_principal() is APPLICATION

    def test_one_binding_entered_again_inside_itself(self):
        binding = acting_as(ANN)
        with binding, acting_as(BOB), binding:
            assert current_principal() == ANN
        assert current_principal() is APPLICATION

    def test_an_actor_entered_again_inside_itself(self):
        binding = bound(ANN)
        with acting_as(BOB):
            with binding:
                with binding:
                    assert current_principal() == ANN
                assert current_principal() == ANN
            assert current_principal() == BOB
        assert current_principal() == APPLICATION

    def test_as_a_decorator(self):
        @acting_as(ANN)
        def who(depth=0):
            return (current_principal(), *(who(depth - 1) if depth else ()))

        assert who(depth=2) == (ANN, ANN, ANN)
        assert who.__name__ == "who"
        assert current_principal() is APPLICATION

    def test_as_a_decorator_of_what_is_awaited(self):
        async def who(request=None):
            await asyncio.sleep(0)
            return current_principal()

        class Callable:
            async def __call__(self):
                return await who()

        class Page(View):
            async def get(self, request):
                return await who()

        page = partial(Page.as_view(), RequestFactory().get("/"))
        others = partial(who), lambda: who(), Callable(), sync_to_async(current_principal), page

        async def both(asked):
            return await acting_as(ANN)(asked)(), current_principal()

        for asked in (who, *others):
            assert async_to_sync(both)(asked) == (ANN, APPLICATION)
        assert iscoroutinefunction(acting_as(ANN)(Page.as_view()))

    def test_not_as_a_decorator_of_generators(self):
        async def asynchronous():
            yield current_principal()

        def synchronous():
            yield current_principal()

        for generator in (synchronous, asynchronous):
            with pytest.raises(TypeError, match="is a generator"):
                acting_as(ANN)(generator)


class RaisesAfter:
    """A context variable, after whose next change a signal handler raises, as a time-out does."""

    def __init__(self, variable):
        self.get = variable.get
        self._set = variable.set
        self.is_due = False

    def set(self, value):
        self._set(value)
        if self.is_due:
            self.is_due = False
            raise TimeoutError


@pytest.mark.parametrize("variable", ["_bound", "_entered"])
@pytest.mark.parametrize("binding", [lambda: acting_as(BOB), lambda: bound(BOB)])
@pytest.mark.parametrize("where", ["enter", "exit"])
def test_a_signal_handler_that_raises(monkeypatch, variable, binding, where):
    raises = RaisesAfter(getattr(principals, variable))
    monkeypatch.setattr(principals, variable, raises)
    with acting_as(ANN):
        with pytest.raises(TimeoutError):
            raises.is_due = where == "enter"
            with binding():
                raises.is_due = True
        assert current_principal() == ANN
    assert current_principal() is APPLICATION


class TestAsync:
    def test_tasks_have_their_own(self):
        async def who(principal):
            with acting_as(principal):
                await asyncio.sleep(0.01)
                return current_principal()

        async def both():
            return await asyncio.gather(who(ANN), who(BOB))

        assert async_to_sync(both)() == [ANN, BOB]

    def test_one_binding_in_two_tasks_at_once(self):
        shared = acting_as(APPLICATION)

        async def task(principal, seconds):
            with acting_as(principal):
                with shared:
                    await asyncio.sleep(seconds)
                return current_principal()

        async def both():
            return await asyncio.gather(task(ANN, 0.01), task(BOB, 0.02))

        assert asyncio.run(both()) == [ANN, BOB]

    def test_one_binding_in_two_threads_at_once(self):
        shared, barrier = acting_as(APPLICATION), threading.Barrier(2)

        def thread(principal, is_last):
            with acting_as(principal):
                with shared:
                    barrier.wait()  # both are inside
                    if is_last:
                        barrier.wait()
                after = current_principal()
                if not is_last:
                    barrier.wait()
                return after

        with ThreadPoolExecutor(2) as pool:
            one, other = pool.submit(thread, ANN, False), pool.submit(thread, BOB, True)
            assert (one.result(), other.result()) == (ANN, BOB)

    def test_across_the_borders(self):
        """async → a thread for sync code → async again."""

        async def who():
            return current_principal()

        async def cross():
            with acting_as(ANN):
                return await sync_to_async(async_to_sync(who))()

        assert async_to_sync(cross)() == ANN
        assert current_principal() is APPLICATION


class TestGenerators:
    """Nobody should yield inside of a binding; whoever does gets hold of nobody else's."""

    @staticmethod
    def acting():
        with acting_as(APPLICATION):
            yield

    def test_one_that_is_left_in_another_context(self):
        left = self.acting()
        copy_context().run(next, left)
        with acting_as(ANN):
            left.close()
            assert current_principal() == ANN
        assert current_principal() is APPLICATION

    def test_one_that_is_left_inside_of_another_binding(self):
        with acting_as(BOB):
            left = self.acting()
            next(left)
            with acting_as(ANN):
                left.close()
                assert current_principal() == ANN
            assert current_principal() == BOB


class TestThreads:
    def test_a_thread_has_nobody(self):
        with acting_as(ANN):
            assert in_thread(current_principal) is APPLICATION

    def test_a_thread_that_was_handed_its_context(self):
        with acting_as(ANN):
            context = copy_context()
        assert in_thread(lambda: context.run(current_principal)) == ANN


def in_pool():
    """Who acts in a process of a pool; and inside of a binding of its own, and after it."""
    outcomes = []
    for binding in (nullcontext(), acting_as(BOB), nullcontext()):
        with binding:
            try:
                outcomes.append(current_principal().name or current_principal().type)
            except KeyAccessDenied as error:
                outcomes.append(str(error)[:29])
    return outcomes


class TestForkedProcesses:
    """Those of a pool are forked for who needs it first, and work for all who come later."""

    REFUSED = "This process was forked by co"

    @pytest.mark.parametrize(
        ("first", "expected"),
        [
            (acting_as(ANN), REFUSED),
            (acting_as(ANONYMOUS), REFUSED),
            (bound(RequestUser(lambda: User(pk=1, username="ann"))), REFUSED),
            (acting_as(APPLICATION), "application"),
            (nullcontext(), "application"),
        ],
    )
    def test_nobody_acts_for_who_came_first(self, first, expected):
        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            with first:
                pool.submit(int).result()
            with acting_as(BOB):
                outcomes = pool.submit(in_pool).result()
        assert outcomes == [expected, "bob", expected]


class TestWhileARequestIsHandled:
    def test_nobody_may_be_unbound(self):
        with handled(), pytest.raises(KeyAccessDenied, match="while a request is handled"):
            current_principal()

    def test_not_in_a_bare_thread_either(self):
        with handled(), acting_as(ANN):
            assert current_principal() == ANN
            with pytest.raises(KeyAccessDenied, match="copy_context"):
                in_thread(current_principal)
            context = copy_context()
            assert in_thread(lambda: context.run(current_principal)) == ANN

    def test_the_application_says_so(self):
        with handled(), acting_as(APPLICATION):
            assert current_principal() is APPLICATION

    def test_until_the_last_one_is_over(self):
        inside, over = threading.Event(), threading.Event()

        def request():
            with handled():
                inside.set()
                over.wait(10)

        other = threading.Thread(target=request)
        with handled():
            other.start()
            inside.wait(10)
        with pytest.raises(KeyAccessDenied):
            current_principal()
        over.set()
        other.join()
        assert current_principal() is APPLICATION


def test_a_setting_denies_unbound_code(settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "REQUIRE_PRINCIPAL": True}
    with pytest.raises(KeyAccessDenied, match="REQUIRE_PRINCIPAL"):
        current_principal()
    with acting_as(APPLICATION):
        assert current_principal() is APPLICATION
