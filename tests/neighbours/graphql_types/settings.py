from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "graphene_django", "tests.neighbours.graphql_types"]
