"""Stored master keys, against the root keys in the settings and the fields that name them."""

import pytest
from django.apps import apps
from django.core.checks import Tags, run_checks
from django.db import connection, models

from envelope_fields.audit import triggers
from envelope_fields.checks.keys import check_aliases, check_stored_versions, check_triggers
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import adopt, create_master_key
from tests.checks.test_versions import another_root_key

pytestmark = pytest.mark.django_db

KEYS = ["default"]  # the database that they are in


class TestAliases:
    def test_an_alias_that_exists_is_silent(self, registry, ids):
        create_master_key("lab")

        class Patient(models.Model):
            notes = EncryptedTextField(key="lab")
            more = EncryptedTextField()
            other = EncryptedTextField(key=lambda instance: "nowhere")

        assert ids() == []

    def test_an_alias_that_is_missing_is_a_warning(self, registry, report):
        class Patient(models.Model):
            notes = EncryptedTextField(key="lab")

        (message,) = report()
        assert message.id == "envelope_fields.W002"
        assert message.obj is Patient._meta.get_field("notes")
        assert "create_master_key lab" in message.hint

    def test_the_case_of_an_alias_counts(self, registry, ids):
        create_master_key("LAB")

        class Patient(models.Model):
            notes = EncryptedTextField(key="lab")

        assert ids() == ["W002"]


class TestWhere:
    """Both checks look into the database of the keys, and only when Django lets them."""

    @pytest.mark.parametrize("check", [check_stored_versions, check_aliases])
    @pytest.mark.parametrize("databases", [None, [], ["other"]], ids=str)
    def test_other_databases_are_left_alone(self, check, databases, root_key):
        root_key(another_root_key())
        with connection.execute_wrapper(self.refuse):
            assert check(databases=databases) == []

    @pytest.mark.parametrize("check", [check_stored_versions, check_aliases])
    def test_wrong_settings_are_left_to_their_own_check(self, check, settings):
        settings.ENVELOPE_FIELDS = {"DATABASE": "nowhere"}
        assert check(databases=KEYS) == []

    @pytest.mark.parametrize("check", [check_stored_versions, check_aliases])
    @pytest.mark.parametrize("made", [[], ["envelope_fields_masterkey"]], ids=str)
    def test_before_the_tables_are_made_there_is_nothing_to_check(self, check, made, monkeypatch):
        monkeypatch.setattr(connection.introspection, "table_names", lambda *_, **__: made)
        assert check(databases=KEYS) == []

    @pytest.mark.django_db(databases=["default", "other"])  # Django asks them for their versions
    def test_without_databases_django_runs_the_others(self, root_key):
        root_key(another_root_key())
        with connection.execute_wrapper(self.refuse):
            assert run_checks(app_configs=[apps.get_app_config("envelope_fields")]) == []

    def test_with_databases_django_runs_them(self, root_key):
        root_key(another_root_key())
        ids = [message.id for message in run_checks(tags=[Tags.database], databases=KEYS)]
        assert "envelope_fields.E005" in ids

    @staticmethod
    def refuse(execute, sql, params, many, context):
        assert "envelope_fields_" not in sql
        return execute(sql, params, many, context)


@pytest.mark.django_db
def test_a_key_that_serves_no_fields(django_user_model):
    create_master_key("lab", actor=django_user_model.objects.create_user("ann"))
    found = [message for message in check_aliases(databases=["default"])
             if message.id == "envelope_fields.W008"]  # fmt: skip
    assert {str(message.obj) for message in found} >= {"tests.LabNote.text"}
    assert "adopt_master_key lab" in found[0].hint
    adopt("lab")
    assert "envelope_fields.W008" not in {
        message.id for message in check_aliases(databases=["default"])
    }


@pytest.mark.django_db(transaction=True)
class TestTriggers:
    def test_missing(self):
        """envelope_fields.W060"""
        assert check_triggers(databases=["default"]) == []
        triggers.drop(connection)
        try:
            (message,) = check_triggers(databases=["default"])
        finally:
            triggers.create(connection)
        assert message.id == "envelope_fields.W060"
        assert "run `python manage.py migrate`" in message.hint
        assert check_triggers(databases=["default"]) == []

    def test_another_database_is_not_asked(self):
        assert check_triggers(databases=None) == []
        assert check_triggers(databases=["other"]) == []
