from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "auditlog",
    "axes",
    "cachalot",
    "cacheops",
    "constance",
    "easyaudit",
    "field_audit",
    "modelsearch",
    "parler",
    "reversion",
    "solo",
    "tracking_fields",
    "watson",
    "tests.neighbours.copies",
]
AUDITLOG_INCLUDE_ALL_MODELS = True
AUDITLOG_EXCLUDE_TRACKING_MODELS = ("copies",)  # which are registered one by one
CACHEOPS_REDIS = "redis://127.0.0.1:1/0"  # nothing is cached
CACHEOPS = {
    "*.*": {"ops": "get", "timeout": 60},
    "copies.indexed": None,
    "copies.kept": None,
    "copies.leftout": None,
    "copies.single": None,
    "copies.translated": {"timeout": 60},
    "copies.translatedtranslation": None,
}
DJANGO_EASY_AUDIT_UNREGISTERED_CLASSES_EXTRA = [
    "copies.Kept",
    "copies.LeftOut",
    "copies.Single",
    "copies.Translated",
    "copies.TranslatedTranslation",
]
SOLO_CACHE = "default"
CONSTANCE_BACKEND = "constance.backends.memory.MemoryBackend"
CONSTANCE_CONFIG = {"LIMIT": (1, "")}
