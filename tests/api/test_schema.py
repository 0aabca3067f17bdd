"""The OpenAPI document: complete, without a warning, and the one that is committed."""

import re

import pytest
import yaml
from drf_spectacular import generators
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.validation import validate_schema
from rest_framework.schemas.openapi import SchemaGenerator as openapi_of_rest_framework

from envelope_fields.api import schema
from envelope_fields.api.requests import OWN_PARAMETERS
from envelope_fields.api.urls import urlpatterns
from tests import openapi
from tests.api import problem, url

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]


@pytest.fixture
def document(monkeypatch):
    monkeypatch.setattr(schema, "_made", {})
    return schema.document_for(with_data_operations=True)


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_is_what_is_committed(document):
    assert openapi.as_text(document) == openapi.COMMITTED.read_text(), (
        "Write it anew: python -m tests.openapi"
    )


def test_is_the_same_whatever_the_project_sets_for_its_own(monkeypatch):
    for name, value in {
        "CAMELIZE_NAMES": True, "SCHEMA_PATH_PREFIX_INSERT": "/mine", "RENDERER_WHITELIST": [],
        "PARSER_WHITELIST": [], "SORT_OPERATION_PARAMETERS": False, "SERVERS": [{"url": "/x"}],
        "APPEND_PATHS": {"/mine/": {"get": {"operationId": "mine", "responses": {}}}},
        "PREPROCESSING_HOOKS": [lambda endpoints: []], "COMPONENT_SPLIT_REQUEST": True,
    }.items():  # fmt: skip
        monkeypatch.setattr(spectacular_settings, name, value)
    monkeypatch.setattr(schema, "_made", {})
    made = schema.document_for(with_data_operations=True)
    assert openapi.as_text(made) == openapi.COMMITTED.read_text()
    assert spectacular_settings.CAMELIZE_NAMES is True


def test_is_valid_and_has_no_warnings(document, capsys):
    assert document["openapi"].startswith("3.1.")
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    validate_schema(document)
    assert capsys.readouterr().err == ""


def test_has_every_address(document):
    assert len(document["paths"]) == len(urlpatterns) - 1  # the last is for what is none
    assert set(re.findall(r"{(\w+)}", " ".join(document["paths"]))) == OWN_PARAMETERS


def test_says_what_each_does(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for what, operation in operations(document):
        assert operation["summary"], what
        assert {"400", "401", "403", "404"} <= set(operation["responses"]), what


def test_has_examples(document):
    for what, operation in operations(document):
        parts = [operation.get("requestBody", {})]
        parts += [operation["responses"].get(status, {}) for status in ("200", "201", "202")]
        for part in parts:
            content = part.get("content", {}).get("application/json", {})
            is_document = content.get("schema", {}).get("additionalProperties") == {}
            if content and not is_document:
                assert content.get("examples"), what


def test_is_served(api):
    served = api.get(url("schema"))
    assert served.status_code == 200
    assert served.json()["servers"] == [{"url": "http://testserver/api/v1"}]
    assert "/data/encrypt/" in served.json()["paths"]
    as_yaml = api.get(url("schema"), headers={"Accept": "application/yaml"})
    assert yaml.safe_load(as_yaml.content)["paths"] == served.json()["paths"]
    assert api.get(f"{url('schema')}?format=yaml").status_code == 200
    problem(api.get(url("schema"), headers={"Accept": "text/html"}), 406)
    problem(api.get(f"{url('schema')}?x=1"), 400)


def test_tells_of_data_operations_where_they_are_on(api, settings):
    ours = settings.ENVELOPE_FIELDS
    settings.ENVELOPE_FIELDS = {key: value for key, value in ours.items() if key != "API"}
    paths = api.get(url("schema")).json()["paths"]
    assert not [path for path in paths if path.startswith("/data/")]
    assert "/keys/" in paths


def test_settings_of_the_project_are_left_alone(document):
    assert spectacular_settings.OAS_VERSION == "3.0.3"
    assert spectacular_settings.TITLE == ""


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_is_in_that_of_the_project(monkeypatch, document, version):
    monkeypatch.setattr(spectacular_settings, "OAS_VERSION", version)
    made = generators.SchemaGenerator(urlconf="tests.urls").get_schema(public=True)
    validate_schema(made)
    assert any(path.endswith("/keys/{id}/rotate/") for path in made["paths"])
    assert ("propertyNames" in str(made)) is (version == "3.1.0")


def test_generator_of_rest_framework_refers_to_it():
    made = openapi_of_rest_framework(urlconf="tests.urls").get_schema(public=True)
    ours = [made["paths"][path] for path in made["paths"] if path.endswith("/keys/{id}/rotate/")]
    assert ours
    assert all("schema/" in str(methods["post"]) for methods in ours)
