from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "hijack", "impersonate", "tests.neighbours.impersonation"]
# In whatever order: who a request's user is, is asked when a key is used.
MIDDLEWARE = [*MIDDLEWARE, "impersonate.middleware.ImpersonateMiddleware"]
ROOT_URLCONF = "tests.neighbours.impersonation.urls"
