"""Finding plugins, and what becomes of broken ones; the plugins are made here."""

from __future__ import annotations

import sys
import textwrap
import time

import pytest

from folkmoot.plugins.manager import PluginManager, PluginsRequired

GOOD = """
    from folkmoot_sdk import ParserSpec, hookimpl
    FOLKMOOT_SDK_API = 1
    def nothing(head): return None
    def spec(kind, **changes):
        values = dict(kind=kind, title="T", media_types=("text/x-t",), suffixes=(".t",), parse=list, sniff=nothing)
        return ParserSpec(**values | changes)
    @hookimpl
    def register_parsers(): return [spec("made-up")]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a distribution with one plugin, as pip would leave it."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, source: str, *, distribution: str | None = None) -> None:
        module = f"made_{name.replace('-', '_')}_{len(made)}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(GOOD) + textwrap.dedent(source))
        info = tmp_path / f"{(distribution or module).replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or module}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[folkmoot]\n{name} = {module}\n")

    yield make
    for module in made:
        sys.modules.pop(module, None)


def report(manager, name):
    return next(plugin for plugin in manager.plugins if plugin.name == name)


def test_the_built_in_plugin_is_found_like_any_other():
    manager = PluginManager.load(None, ())
    assert report(manager, "builtin").error is None
    assert {"text", "markdown", "html", "csv"} <= {spec.kind for spec in manager.parsers}
    assert manager.entry_points["csv"].name == "builtin"


def test_a_plugin_is_listed_with_its_distribution_version_and_hooks(install):
    install("made", "", distribution="folkmoot-made")
    found = report(PluginManager.load(None, ()), "made")
    assert (found.distribution, found.version, found.hooks) == ("folkmoot-made", "1.2", ("register_parsers",))
    assert found.error is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no such library')", "RuntimeError: no such library"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import not_there_at_all", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("FOLKMOOT_SDK_API = 2", "version 2 of the SDK"),
        ("del FOLKMOOT_SDK_API", "does not state FOLKMOOT_SDK_API"),
        ("del register_parsers", "implements no hook"),
        ("@hookimpl\ndef register_parser(): return []", "unknown hook register_parser: did you mean register_parsers"),
        ("@hookimpl\ndef register_parsers(config): return []", "a hook takes no argument"),
        ("@hookimpl\ndef register_parsers(): raise KeyError('x')", "KeyError"),
        ("@hookimpl\ndef register_parsers(): return 'spec'", "returns str"),
        ("@hookimpl\ndef register_parsers(): return [{}]", "with dict in it"),
        ("@hookimpl\ndef register_parsers(): return [spec('Bad Kind')]", "'Bad Kind' is not lower-case"),
        ("@hookimpl\ndef register_parsers(): return [spec(1)]", "kind 1 is not lower-case"),
        ("@hookimpl\ndef register_parsers(): return [spec('a', title='')]", "a has no title"),
        ("@hookimpl\ndef register_parsers(): return [spec('a', parse=None)]", "parse cannot be called"),
        ("@hookimpl\ndef register_parsers(): return [spec('a', suffixes='.a')]", "suffixes is '.a'"),
        ("@hookimpl\ndef register_parsers(): return [spec('a', suffixes=('a',))]", "'a' in suffixes is malformed"),
        ("@hookimpl\ndef register_parsers(): return [spec('a', priority='high')]", "priority is 'high'"),
        ("@hookimpl\ndef register_parsers(): return [spec('a'), spec('a')]", "'a' is already taken"),
        ("@hookimpl\ndef register_parsers(): return [spec('csv')]", "'csv' is already taken"),
        (
            "from folkmoot_sdk import ProviderSpec\n@hookimpl\n"
            "def register_ai_providers(): return [ProviderSpec(kind='p', title='P', config=dict, connect=list)]",
            "not a class derived from msgspec.Struct",
        ),
    ],
)
def test_a_broken_plugin_is_reported_in_a_sentence_and_left_out(install, source, words):
    install("made", source)
    install("other", "@hookimpl\ndef register_parsers(): return [spec('other')]")
    manager = PluginManager.load(None, ())
    assert words in (report(manager, "made").error or "")
    assert "made" not in {point.name for point in manager.entry_points.values()}
    assert manager.parser("other") is not None, "the plugin after it is loaded all the same"
    assert manager.parser("text") is not None


def test_a_plugin_that_does_not_come_back_costs_seconds_and_not_the_start(install):
    install("made", "@hookimpl\ndef register_parsers():\n    import time; time.sleep(5)")
    begun = time.monotonic()
    manager = PluginManager.load(("made", "builtin"), (), seconds=0.3)
    assert time.monotonic() - begun < 3
    assert "did not finish" in (report(manager, "made").error or "")
    assert manager.parser("text") is not None


def test_of_two_plugins_with_one_kind_the_first_by_name_has_it(install):
    install("zeta", "@hookimpl\ndef register_parsers(): return [spec('same', title='Z')]")
    install("alpha", "@hookimpl\ndef register_parsers(): return [spec('same', title='A')]")
    manager = PluginManager.load(None, ())
    assert manager.parser("same").title == "A"
    assert "already taken" in report(manager, "zeta").error


def test_of_two_distributions_with_one_name_the_second_is_refused(install):
    install("twin", "@hookimpl\ndef register_parsers(): return [spec('one')]", distribution="aaa")
    install("twin", "@hookimpl\ndef register_parsers(): return [spec('two')]", distribution="bbb")
    manager = PluginManager.load(None, ())
    assert [plugin.error is None for plugin in manager.plugins if plugin.name == "twin"] == [True, False]
    assert manager.parser("two") is None


def test_what_the_allow_list_does_not_name_is_not_even_imported(install):
    install("made", "import sys; sys.made_was_imported = True")
    manager = PluginManager.load(("builtin",), ())
    assert [plugin.name for plugin in manager.plugins] == ["builtin"]
    assert not hasattr(sys, "made_was_imported")


@pytest.mark.parametrize(
    ("allow", "source", "words"),
    [
        (None, "raise ValueError('sorry')", "does not work: ValueError: sorry"),
        (("builtin",), "", "not allowed: add it to FOLKMOOT_PLUGINS"),
    ],
)
def test_a_required_plugin_that_does_not_work_stops_the_start(install, allow, source, words):
    install("made", source)
    with pytest.raises(PluginsRequired, match=words):
        PluginManager.load(allow, ("made",))


def test_a_required_plugin_that_is_missing_stops_the_start():
    with pytest.raises(PluginsRequired, match=r"not installed \(installed: builtin"):
        PluginManager.load(("builtin", "absent"), ("absent",))


def test_a_hook_may_be_optional_and_parsers_come_by_priority(install):
    install(
        "made",
        """
        @hookimpl(optionalhook=True)
        def register_something_of_tomorrow(): return []
        @hookimpl
        def register_parsers(): return [spec("low", priority=-50), spec("high", priority=5)]
        """,
    )
    manager = PluginManager.load(None, ())
    assert report(manager, "made").error is None
    kinds = [spec.kind for spec in manager.parsers]
    assert (kinds[0], kinds[-1]) == ("high", "low")


def test_auth_backends_are_collected_by_kind(install):
    install(
        "door",
        """
        from contextlib import asynccontextmanager
        from folkmoot_sdk import AuthBackendSpec
        from msgspec import Struct
        class Config(Struct): server: str
        @asynccontextmanager
        async def connect(config, context): yield None
        @hookimpl
        def register_auth_backends():
            return [AuthBackendSpec(kind="town", title="Directory", config=Config, connect=connect)]
        """,
    )
    manager = PluginManager.load(None, ())
    assert report(manager, "door").hooks == ("register_auth_backends", "register_parsers")
    assert manager.auth_backends["town"].title == "Directory"
