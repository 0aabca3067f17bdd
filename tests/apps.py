"""The application of the tests' models."""

from django.apps import AppConfig


class TestsConfig(AppConfig):
    """Has test databases begin without the blind index of the demo.

    Its search key, and what the audit trail says of it, would be in every test; they say themselves
    which keys there are. The index begins where a test needs it.
    """

    name = "tests"

    def ready(self) -> None:
        from envelope_fields.lifecycle import indexes

        of_all = indexes.index_columns
        indexes.index_columns = lambda using: [
            each for each in of_all(using) if each.model._meta.app_label != "clinic"
        ]
