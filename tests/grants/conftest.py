from tests.policy.conftest import ann, bob, granted, lab  # noqa: F401 - fixtures
