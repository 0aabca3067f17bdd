from tests import databases
from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS, MIDDLEWARE
from tests.settings import PREFIX

DATABASES = {
    "default": {
        **databases.postgresql(),  # nothing else has schemas
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": PREFIX,
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", *INSTALLED_APPS, "tests.neighbours.schemas"]
TENANT_APPS = ["tests.neighbours.schemas.clinic"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *MIDDLEWARE]
TENANT_MODEL = "schemas.Tenant"
TENANT_DOMAIN_MODEL = "schemas.Domain"
