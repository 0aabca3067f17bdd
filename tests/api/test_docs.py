"""The pages about the API: what they tell readers to type, typed against a real server."""

import shutil
from datetime import timedelta

import pytest
from django.utils import timezone

from envelope_fields.lifecycle import adopt, create_master_key
from envelope_fields.models import MasterKeyVersion
from tests.admin import officer
from tests.docs.pages import ROOT, Page
from tests.docs.project import Project
from tests.models import TenantNote
from tests.server import served

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]


@pytest.mark.parametrize("name", ["http-api", "http-api-data-keys"])
def test_what_readers_type(name, tmp_path):
    user = officer("olga")
    billing = create_master_key("billing", description="Invoices", rotation_period=90, actor=user)
    adopt(billing)
    create_master_key("archive", actor=user)
    for number in range(20):
        TenantNote.objects.create(tenant="billing", text=f"Invoice {number}", data={})
    MasterKeyVersion.objects.filter(master_key=billing).update(
        created_at=timezone.now() - timedelta(days=91)
    )
    page = Page(ROOT / "docs" / "how-to" / f"{name}.md")
    blocks = [block for block in page.blocks if block.detail.startswith("tests/api")]
    assert blocks
    project = Project.empty(tmp_path / "project")
    with served() as address:
        project.environment |= {"API": address.rstrip("/"), "ACCOUNT": "olga:secret"}
        for block in blocks:
            project._do(block)
