"""Django's test runner, for which tests that are refused are expected failures."""

from django.test.runner import DiscoverRunner
from django.test.utils import iter_test_cases

from swapped.refused import all_there, refused


class Runner(DiscoverRunner):
    """Fails where a refused test passes."""

    def build_suite(self, *args, **kwargs):
        suite = super().build_suite(*args, **kwargs)
        names = refused()
        tests = {test.id(): test for test in iter_test_cases(suite)}
        all_there(names.keys(), tests.keys())
        for name in names:
            tests[name].__unittest_expecting_failure__ = True
        return suite
