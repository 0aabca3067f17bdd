from tests.rotation.conftest import few_columns  # noqa: F401 - a fixture
