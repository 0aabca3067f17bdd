"""The committed OpenAPI document: `python -m tests.openapi` writes it anew."""

import os
from pathlib import Path

COMMITTED = Path(__file__).parent.parent / "docs" / "reference" / "openapi.yaml"


def as_text(document):
    from drf_spectacular.renderers import OpenApiYamlRenderer

    return OpenApiYamlRenderer().render(document, renderer_context={}).decode()


def main():
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from envelope_fields.api.schema import document_for

    COMMITTED.write_text(as_text(document_for(with_data_operations=True)))


if __name__ == "__main__":
    main()
