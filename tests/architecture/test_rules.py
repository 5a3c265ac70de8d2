"""The rules of the house that no type checker sees, read from the source."""

import ast
import re
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import folkmoot_sdk.hooks
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from folkmoot.kit.access import Permission
from folkmoot.kit.db import make_engine
from folkmoot.migrate import METADATA
from folkmoot.settings import Settings, described
from tests.architecture.routes import open_handlers

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "folkmoot"
LONGEST = 450
PUBLIC = {
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/api/v1/auth/forgot",
    "/api/v1/auth/link",
    "/api/v1/auth/link/accept",
    "/api/v1/auth/methods",
    "/api/v1/auth/methods/{method_id:uuid}/start",
    "/api/v1/auth/methods/{method_id:uuid}/login",
    "/api/v1/auth/methods/{method_id:uuid}/backchannel-logout",
    "/api/v1/auth/callback",
    "/.well-known/jwks.json",
    "/.well-known/receipt-keys.json",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/api/assets/{file_path:path}",
    "/api",
    "/api/docs",
    "/api/docs/start.js",
    "/api/openapi.json",
    "/api/{path:str}",
}
"""What anybody may call. A new line here is a decision."""
COMPOSITION_ROOTS = {"main", "worker", "cli", "assemble", "ask", "up", "guard", "commands", "platform"}
FORBIDDEN_NAMES = {"utils", "helpers", "constants", "managers", "factories", "assemblers", "repositories", "common"}
WITHOUT_LITESTAR = {"service", "answer", "ingest", "search", "tasks", "models", "prompt", "cite", "upload", "sign_in"}


def modules(below: Path = SOURCE) -> list[Path]:
    return sorted(path for path in below.rglob("*.py") if "template" not in path.parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(source: str) -> set[str]:
    """Every module that a source names, those imported inside functions too; `from a import b` as `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where things come from"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def commits(source: str) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "commit" for node in ast.walk(ast.parse(source)))


def wrong_imports(path: str, source: str) -> list[str]:
    """What a module of the host must not import: `routes`, `tasks` or litestar, each where it does not belong."""
    parts = path.removesuffix(".py").split("/")
    wrong = []
    for found in imports(source):
        pieces = found.split(".")
        if pieces[0] == "litestar" and parts[-1] in WITHOUT_LITESTAR:
            wrong.append(f"{path} imports {found}: a service knows nothing of HTTP")
        if pieces[0] != "folkmoot" or len(pieces) < 3 or parts[0] in COMPOSITION_ROOTS:
            continue
        if "routes" in pieces[2:3] or pieces[2:] == ["routes"]:
            wrong.append(f"{path} imports {found}: only the composition roots import routes")
        own = pieces[1] == parts[0] and (parts[-1] == "upload" or "routes" in parts[-1].split("_"))
        if pieces[2] == "tasks" and not own:
            wrong.append(f"{path} imports {found}: only the composition roots and its own domain's routes import tasks")
    return wrong


def test_only_the_unit_of_work_commits():
    assert [name_of(path) for path in modules() if commits(path.read_text())] == ["src/folkmoot/kit/work.py"]
    assert commits("async def f(s): await s.commit()")


def test_services_know_no_http_and_only_roots_import_routes_and_tasks():
    wrong = []
    for path in modules():
        wrong += wrong_imports(str(path.relative_to(SOURCE)), path.read_text())
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("spaces/service.py", "from litestar import get"),
        ("spaces/service.py", "def f():\n    import litestar.di"),
        ("conversations/answering/answer.py", "from folkmoot.knowledge.tasks import ingest_document"),
        ("spaces/service.py", "from folkmoot.spaces import routes"),
        ("feed/service.py", "from folkmoot.spaces.routes import SpaceController"),
        ("knowledge/routes.py", "from folkmoot.conversations.tasks import answer_message"),
    ],
)
def test_the_check_of_imports_finds_a_wrong_one(path, source):
    assert len(wrong_imports(path, source)) == 1


def test_a_package_is_one_docstring():
    for path in modules():
        if path.name != "__init__.py":
            continue
        (only,) = ast.parse(path.read_text()).body
        assert isinstance(only, ast.Expr), name_of(path)
        assert isinstance(only.value, ast.Constant), name_of(path)
        assert isinstance(only.value.value, str), name_of(path)


def test_no_module_is_named_for_nothing():
    for path in modules():
        assert not FORBIDDEN_NAMES & {path.stem, *path.relative_to(SOURCE).parts}, name_of(path)


def test_no_file_grows_beyond_reading():
    sources = [*modules(), *modules(ROOT / "plugins"), *modules(ROOT / "providers")]
    long = {name_of(path): lines for path in sources if (lines := len(path.read_text().splitlines())) > LONGEST}
    assert long == {}


def test_every_module_says_what_it_is_for():
    silent = [name_of(path) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_every_route_names_a_permission_or_is_listed_public(api):
    unguarded, public = open_handlers(api)
    assert unguarded == []
    assert public == PUBLIC


def test_every_permission_is_asked_for_somewhere():
    asked = set()
    for path in SOURCE.rglob("*.py"):
        if path.name != "access.py":
            asked |= set(
                re.findall(r"(?:needs|require)\(Permission\.(\w+)|Permission\.(\w+) (?:not )?in", path.read_text())
            )
    asked = {name for pair in asked for name in pair if name}
    assert asked == {permission.name for permission in Permission}


def distributions() -> list[Path]:
    found = [*(ROOT / "plugins").glob("*/pyproject.toml"), *(ROOT / "providers").glob("*/pyproject.toml")]
    return sorted(path.parent for path in found if path.parent.name not in ("sdk", "template"))


_IMPORT_NAMES = {"python-docx": "docx", "python-pptx": "pptx", "pyjwt": "jwt", "beautifulsoup4": "bs4"}


def dependencies_of(folder: Path) -> list[str]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]


def strange_imports(source: str, own: str, dependencies: list[str]) -> set[str]:
    """What a plugin imports beside the SDK, the standard library, itself and what it declares."""
    declared = {re.split(r"[\[<>=~! ;]", item)[0].lower() for item in dependencies}
    known = {_IMPORT_NAMES.get(item, item.replace("-", "_")) for item in declared}
    roots = {found.split(".")[0] for found in imports(source)}
    return roots - known - {own, "folkmoot_sdk"} - sys.stdlib_module_names


@pytest.mark.parametrize("folder", distributions(), ids=lambda path: path.name)
def test_a_plugin_imports_only_the_sdk_and_what_it_declares(folder):
    # What the SDK stands on is part of its contracts: a configuration is a msgspec Struct, a client is httpx's.
    declared = dependencies_of(folder) + dependencies_of(ROOT / "plugins" / "sdk")
    (package,) = [path for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]
    for path in modules(package):
        strange = strange_imports(path.read_text(), package.name, declared)
        assert strange == set(), f"{name_of(path)} imports {sorted(strange)}"


def test_the_check_of_plugins_finds_a_wrong_import():
    source = "import folkmoot.kit.db\nimport json, httpx\nfrom folkmoot_sdk import Block"
    assert strange_imports(source, "folkmoot_x", ["folkmoot-sdk>=1"]) == {"folkmoot", "httpx"}


HOOKS = sorted(name for name in vars(folkmoot_sdk.hooks) if name.startswith("register_"))


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_tested(hook):
    documented = [path.read_text() for path in (ROOT / "docs" / "plugins").glob("*.md")]
    heading = re.compile(rf"^#+ .*\b{hook}\b", re.MULTILINE)
    assert any(heading.search(page) for page in documented), f"docs/plugins has no heading for {hook}"
    tests = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "plugins").glob("*/tests/test_*.py")]
    assert any(hook in path.read_text() for path in tests if path != Path(__file__)), f"no test names {hook}"


def test_the_sdk_knows_nothing_of_the_host():
    for path in modules(ROOT / "plugins" / "sdk" / "src"):
        assert {found.split(".")[0] for found in imports(path.read_text())}.isdisjoint({"folkmoot", "litestar"})


def _of_models(_, name: str | None, kind: str, *__: object) -> bool:
    """Not the parts that a table is cut into, nor indexes that a model has no words for: one for each length."""
    beside = {"table": r"chunk_vectors_\d+", "index": r"ix_chunk_vectors_\d+"}.get(kind, "")
    return not re.fullmatch(beside, name or "-")


async def test_the_migrations_make_what_the_models_say(database):
    engine = make_engine(database["owner"], pool=1)
    try:
        async with engine.connect() as connection:
            differences = await connection.run_sync(
                lambda plain: compare_metadata(
                    MigrationContext.configure(
                        plain,
                        opts={"compare_type": True, "compare_server_default": False, "include_object": _of_models},
                    ),
                    METADATA,
                )
            )
    finally:
        await engine.dispose()
    assert differences == []


def test_every_setting_has_a_note():
    rows = {name: meaning for name, _, meaning in described()}
    assert set(rows) == {f"FOLKMOOT_{item.name.upper()}" for item in fields(Settings)}
    for name, meaning in rows.items():
        assert meaning.endswith("."), f"{name}: {meaning!r}"
        assert meaning[0].isupper(), f"{name}: {meaning!r}"
