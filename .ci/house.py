"""Measure the house: how large its rooms are, and how far the way through them is.

python .ci/house.py [--names] [TREE]

Migrations are left out. Docstrings, comments and blank lines are not code. TREE is another checkout
of the project; `--names` lists what is counted: names with a word of the old dialect, and long
functions.
"""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

PACKAGE = "envelope_fields"
LONGEST = 45

# ADR 10 has what each is called now. Each is looked for in the parts of names, so that `door` is
# found in `door`, `_doors` and `OneDoor`.
WORDS = (
    "errand", "door", "tell", "told", "said", "doing", "lent", "carrier", "place", "stretch",
    "sweep", "patience", "trouble", "polite", "pace", "tally", "elsewhere", "own_connection",
    "own_process", "news", "facts", "people", "asking", "holder", "beginning", "first_need",
    "departures", "seen_at", "left", "whole", "occupancy", "nobody",
)  # fmt: skip
# What Django, DRF and languages call so.
_OF_OTHERS = ("placeholder", "get_placeholder", "get_placeholder_sql", "replace", "decimal_places")
# Fields of the API's `rotations/`, which are public.
_OF_ROTATIONS = {
    f"{PACKAGE}.api.rotations": ("left", "seconds_left", "seen_at"),
    f"{PACKAGE}.jobs.representation": ("left", "seconds_left", "seen_at"),
}
_SOMEBODY = re.compile(r"whoever|somebody|nobody", re.IGNORECASE)
_PARTS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


class Module:
    """A module of the package."""

    def __init__(self, path: Path, root: Path) -> None:
        parts = path.relative_to(root).with_suffix("").parts
        self.name = ".".join(part for part in parts if part != "__init__")
        self.is_package = parts[-1] == "__init__"
        self.text = path.read_text()
        self.tree = ast.parse(self.text)
        self.lines = len(self.text.splitlines())
        self.code = self._code()
        self.imports = self.code & {
            line
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for line in range(node.lineno, _end(node) + 1)
        }

    def _code(self) -> set[int]:
        nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
                   tokenize.DEDENT, tokenize.ENDMARKER}  # fmt: skip
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in nothing:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            docstring = _docstring(node)
            if docstring is not None:
                lines.difference_update(range(docstring.lineno, _end(docstring) + 1))
        return lines

    def long_functions(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length, docstring = _length(node), _docstring(node)
                length -= 0 if docstring is None else _length(docstring)
                if length > LONGEST:
                    yield f"{self.name}.{node.name} ({length} lines)"

    def imported(self, modules: set[str]) -> set[str]:
        """Return the modules of the package that this one imports when it is imported."""
        found: set[str] = set()
        for node in _at_import(self.tree):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            else:
                base = _absolute(node, self)
                found.update(
                    name if (name := f"{base}.{alias.name}") in modules else base
                    for alias in node.names
                )
        return (found & modules) - {self.name}

    def names(self) -> Iterator[str]:
        """Yield the names of the module, its classes and functions, of columns and of keys."""
        public = _OF_ROTATIONS.get(self.name, ())
        yield from (name for name in self._names() if name not in public)

    def _names(self) -> Iterator[str]:
        yield self.name.rpartition(".")[2]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node.name
                yield from _columns(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name
            elif isinstance(node, ast.Dict):
                yield from (key for key in map(_constant, node.keys) if key)
            elif isinstance(node, ast.Subscript):
                yield _constant(node.slice) or ""


def _columns(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        targets = each.targets if isinstance(each, ast.Assign) else [getattr(each, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _constant(node: ast.AST | None) -> str | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and value.isidentifier() else None


def _at_import(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.ClassDef | ast.Try | ast.With):
            yield from _at_import(node)


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    above = module.name.split(".")[: -node.level + module.is_package or None]
    return ".".join([*above, *filter(None, [node.module])])


def _end(node: ast.AST) -> int:
    return getattr(node, "end_lineno", 0) or 0


def _length(node: ast.AST) -> int:
    return _end(node) - getattr(node, "lineno", 0) + 1


def _docstring(node: ast.AST) -> ast.AST | None:
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first if is_text and isinstance(first.value.value, str) else None


def circles(modules: list[Module]) -> list[list[str]]:
    """Return the groups of modules that import each other, by whatever way."""
    names = {module.name for module in modules}
    graph = {module.name: module.imported(names) for module in modules}
    reached = {name: _reached(name, graph) for name in graph}
    groups = {
        tuple(sorted(each for each in reached[name] if name in reached[each]))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def _reached(name: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [*graph[name]]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += graph[each]
    return found


def words_in(names: list[str]) -> dict[str, list[str]]:
    """Return the names that each of the words is found in."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = [part.lower() for part in _PARTS.findall(name)]
        spelled = f"_{'_'.join(parts)}_"
        for word in WORDS:
            forms = (word, f"{word}s", f"{word}es", f"{word[:-1]}ies")
            if name not in _OF_OTHERS and any(f"_{form}_" in spelled for form in forms):
                found[word].append(name)
    return dict(found)


def measure(tree: Path) -> tuple[dict[str, object], dict[str, list[str]]]:
    """Return the numbers, and the names that some of them count."""
    package = tree / PACKAGE
    paths = [path for path in sorted(package.rglob("*.py")) if "migrations" not in path.parts]
    modules = [Module(path, tree) for path in paths]
    code = sum(len(module.code) for module in modules)
    imports = sum(len(module.imports) for module in modules)
    long = [name for module in modules for name in module.long_functions()]
    in_circles = circles(modules)
    words = words_in([name for module in modules for name in module.names()])
    numbers = {
        "modules": len(modules),
        "median lines of a module": median(module.lines for module in modules),
        "lines": sum(module.lines for module in modules),
        "lines of code": code,
        "share of imports in them": f"{100 * imports / code:.1f} %",
        f"functions over {LONGEST} lines": len(long),
        "import circles": len(in_circles),
        "names with a word of the dialect": sum(map(len, words.values())),
        "whoever, somebody, nobody": sum(len(_SOMEBODY.findall(m.text)) for m in modules),
    }
    listed = {f"functions over {LONGEST} lines": long,
              "import circles": [" - ".join(group) for group in in_circles], **words}  # fmt: skip
    return numbers, listed


# -- What is entered ---------------------------------------------------------------------------

SETTINGS = {
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    "INSTALLED_APPS": [
        *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions")),
        *("django.contrib.messages", "rest_framework", "envelope_fields", "demo_project.clinic"),
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "envelope_fields.middleware.PrincipalMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "ROOT_URLCONF": __name__,
    "SECRET_KEY": "only for this measurement",
    "ALLOWED_HOSTS": ["*"],
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "USE_TZ": True,
    "LOGGING_CONFIG": None,
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}


def entered(package: Path, action: Callable[[], object]) -> list[str]:
    """Return the files of the package whose functions an action calls."""
    import threading

    found: set[str] = set()
    inside = str(package) + "/"

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            if file.startswith(inside):
                found.add(file.removeprefix(inside))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(found)


def profile(tree: Path) -> dict[str, list[str]]:
    """Return the files that each of some everyday actions enters, once it is warm."""
    sys.path.insert(0, str(tree))
    import logging

    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.urls import include, path

    logging.disable(logging.CRITICAL)
    from envelope_fields import testing

    settings.configure(**SETTINGS, ENVELOPE_FIELDS=testing.settings())
    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib import admin

    globals()["urlpatterns"] = [
        path("admin/", admin.site.urls),
        path("api/v1/", include("envelope_fields.api.urls", namespace="v1")),
    ]
    found = {}
    for name, (prepare, action) in everyday_actions().items():
        for _ in range(2):  # the first time, much is imported and cached
            prepare()
            found[name] = entered(tree / PACKAGE, action)
    return found


Action = Callable[[], object]


def everyday_actions() -> dict[str, tuple[Action, Action]]:
    """Return actions, and what has to be done before each of them."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    from demo_project.clinic.models import Resource
    from envelope_fields import rotation
    from envelope_fields.lifecycle import create_master_key, find_master_key, rotate_master_key
    from envelope_fields.policy import acting_as

    user = get_user_model().objects.create_superuser("olga", "", "secret")
    with acting_as(user):
        of_officer = create_master_key("officer", actor=user)
    default = find_master_key("default")
    rows = [Resource(resource_type="Allergy", fhir_id=n, content={"n": n}) for n in range(2)]
    Resource.objects.bulk_create(rows)

    client = Client(raise_request_exception=True)
    client.force_login(user)
    keys = "/api/v1/keys/"
    page = client.get(reverse("admin:envelope_fields_masterkey_change", args=[of_officer.pk]))
    button = re.search(r'href="([^"]*/rotate/)"', page.content.decode())
    address = button[1] if button else ""  # an earlier tree has another address

    def read() -> object:
        return Resource.objects.order_by("pk")[0].content["n"]

    def rotate() -> object:
        return rotate_master_key(default)

    def rewrap() -> object:
        run = rotation.run(default)
        if run.state != "completed":
            raise SystemExit(f"The run is {run.state}.")
        return run

    def over_the_admin() -> object:
        return expect(302, client.post(address))

    def over_the_api() -> object:
        return expect(
            200,
            client.post(f"{keys}{of_officer.pk}/rotate/", "{}", content_type="application/json"),
        )

    def nothing() -> None:
        pass

    return {
        "a warm read of one value": (nothing, read),
        "rotate_master_key": (nothing, rotate),
        "a rewrap of two values by rotation.run": (rotate, rewrap),
        "a rotate over the admin": (nothing, over_the_admin),
        "a rotate over the API": (nothing, over_the_api),
    }


def expect(status: int, response: Any) -> Any:
    if response.status_code not in (status, 201):
        raise SystemExit(f"{response!r}: {getattr(response, 'content', b'')[:500]!r}")
    return response


def main(*arguments: str) -> int:
    options = {argument for argument in arguments if argument.startswith("--")}
    trees = [argument for argument in arguments if argument not in options]
    tree = Path(trees[0] if trees else Path(__file__).parent.parent).resolve()
    if "--profile" in options:
        print(json.dumps(profile(tree)))
        return 0
    numbers, listed = measure(tree)
    command = [sys.executable, __file__, "--profile", str(tree)]
    done = subprocess.run(command, cwd=tree, check=True, stdout=subprocess.PIPE, text=True)
    for name, files in json.loads(done.stdout).items():
        numbers[f"files entered by {name}"] = len(files)
        listed[f"files entered by {name}"] = files
    for name, number in numbers.items():
        print(f"{name:60} {number}")
    if "--names" in options:
        for name, each in listed.items():
            print(f"\n{name}: {', '.join(each) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
