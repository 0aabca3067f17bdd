"""Which cases of a test are run everywhere, and which are left to SQLite and to `make tox`."""

from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest

from tests import marks


class Case:
    def __init__(self, name, **params):
        self.nodeid = name
        self.callspec = SimpleNamespace(params=params)
        self.marks = []

    def add_marker(self, name):
        self.marks.append(name)


def cases_of(function, **values):
    return [
        Case(f"{function}[{'-'.join(each)}]", **dict(zip(values, each, strict=True)))
        for each in product(*values.values())
    ]


def everywhere(cases):
    marks.add_combinations(cases)
    return [each for each in cases if "combination" not in each.marks]


def test_each_value_is_in_two_cases_at_least():
    values = {"way": list("abcdefghijk"), "phase": list("lmnopq"), "text": list("rst")}
    kept = everywhere(cases_of("test", **values))
    for name, of_name in values.items():
        found = Counter(each.callspec.params[name] for each in kept)
        assert set(found) == set(of_name)
        assert min(found.values()) >= 2
    assert len(kept) < 30 < 11 * 6 * 3


def test_they_are_the_same_each_time():
    first, again = (cases_of("test", way="abcdef", phase="ghijkl") for _ in range(2))
    again.reverse()
    assert {each.nodeid for each in everywhere(first)} == {
        each.nodeid for each in everywhere(again)
    }


def test_they_are_the_same_in_a_random_order():
    def left(order):
        cases = cases_of("one", way="abcdef", phase="ghijkl")
        others = cases_of("two", way="abcdef", phase="ghijkl")
        return {each.nodeid for each in everywhere(order(cases, others))}

    in_turns = left(lambda one, two: [each for pair in zip(one, two, strict=True) for each in pair])
    assert in_turns == left(lambda one, two: [*one, *two])


@pytest.mark.parametrize("values", [{"way": "abcdef"}, {"way": "ab", "phase": "cd"}])
def test_what_combines_nothing_is_run_everywhere(values):
    cases = cases_of("test", **values)
    assert everywhere(cases) == cases


def test_a_function_alone():
    cases = [SimpleNamespace(nodeid="test")]
    assert everywhere([Case("test[a]", way="a")]) != []
    marks.add_combinations(cases)


def test_two_functions_share_nothing():
    first, second = cases_of("one", way="abc", phase="de"), cases_of("two", way="abc", phase="de")
    alone = len(everywhere(cases_of("one", way="abc", phase="de")))
    assert len(everywhere([*first, *second])) >= 2 * alone - 1
    assert any(each in second for each in everywhere([*first, *second]))
