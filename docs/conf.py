"""How Sphinx builds these pages. Nothing is fetched from a network."""

import django
from django.conf import settings

# Reference pages are made of docstrings, and models can only be imported into a project.
settings.configure(
    INSTALLED_APPS=["envelope_fields"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

project = "django-envelope-fields"
author = "django-envelope-fields contributors"
copyright = author
html_title = project
html_theme = "furo"
html_theme_options = {"navigation_with_keys": True}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings write `name`, as Markdown does

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
