"""Celery's settings for the tests: those of workers, and of whoever sends to them."""


def conf(environment):
    """Return the settings that an environment asks for."""
    return {
        "broker_url": environment["ENVELOPE_TEST_BROKER"],
        "task_default_queue": environment["ENVELOPE_TEST_QUEUE"],
        "worker_prefetch_multiplier": 1,
        "broker_connection_retry_on_startup": True,
    }
