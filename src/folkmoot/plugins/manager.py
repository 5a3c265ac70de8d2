"""Finding plugins, checking them, and keeping a broken one from breaking the rest.

Importing a plugin and calling its hooks is running somebody else's code at start-up. pluggy's own loader
lets the first failure through, so each plugin is loaded here by itself: what it raises, or that it does
not come back, is written down beside its name, none of its specs count, and the next one gets its turn.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, cast

import msgspec
import pluggy
from folkmoot_sdk import SDK_API, AuthBackendSpec, ParserSpec, ProviderSpec, config_schema, hooks

from folkmoot.plugins.choose import choose_parser as _choose
from folkmoot.settings import SettingsError

GROUP = "folkmoot"
LOAD_SECONDS = 10.0
"""A plugin that takes longer to import and register is given up."""

_KIND = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9!#$&^_.+-]*\Z")
_SUFFIX = re.compile(r"\.[a-z0-9][a-z0-9.+-]*\Z")
_RETURNS: dict[str, type[msgspec.Struct]] = {
    "register_ai_providers": ProviderSpec,
    "register_parsers": ParserSpec,
    "register_auth_backends": AuthBackendSpec,
}


class PluginsRequired(SettingsError):
    """A plugin that the installation cannot do without is missing or broken."""


class BrokenPlugin(Exception):
    """What is wrong with one plugin, as a sentence for its author."""


class PluginReport(msgspec.Struct, frozen=True):
    """One line of `folkmoot plugins`."""

    name: str
    """Of the entry point; what `FOLKMOOT_PLUGINS` lists."""
    distribution: str
    version: str
    hooks: tuple[str, ...] = ()
    error: str | None = None


class Loaded(msgspec.Struct):
    """What one plugin returned."""

    hooks: tuple[str, ...] = ()
    specs: dict[str, list[Any]] = {}
    """By the name of the hook that returned them."""


class PluginManager:
    """What is installed, what of it works, and who does what."""

    def __init__(self) -> None:
        self.plugins: list[PluginReport] = []
        self.providers: dict[str, ProviderSpec] = {}
        self.parsers: tuple[ParserSpec, ...] = ()
        """Highest priority first, then by kind."""
        self.auth_backends: dict[str, AuthBackendSpec] = {}
        self.entry_points: dict[str, EntryPoint] = {}
        """By kind of parser, who registered it: the process that parses loads this one and no other."""

    @classmethod
    def load(
        cls,
        allow: tuple[str, ...] | None = None,
        required: tuple[str, ...] = (),
        *,
        seconds: float = LOAD_SECONDS,
    ) -> PluginManager:
        """Load what is installed, in the order of names, as far as `allow` lists it (None: all).

        Raises `PluginsRequired` if one of `required` is missing, not allowed or broken.
        """
        manager = cls()
        found = sorted(entry_points(group=GROUP), key=lambda point: (point.name, _distribution(point)))
        for point in found:
            if allow is None or point.name in allow:
                manager._add(point, seconds)
        for name in required:
            manager._require(name, allow)
        return manager

    def choose_parser(self, head: bytes, name: str) -> tuple[ParserSpec, str]:
        """Who reads this file, and its media type; see `choose.choose_parser` for how, and what it raises."""
        return _choose(self.parsers, head, name)

    def parser(self, kind: str) -> ParserSpec | None:
        """The parser of this kind, if one is loaded."""
        return next((spec for spec in self.parsers if spec.kind == kind), None)

    def _add(self, point: EntryPoint, seconds: float) -> None:
        version = point.dist.version if point.dist is not None else ""
        report = PluginReport(name=point.name, distribution=_distribution(point), version=version)
        try:
            if (other := next((p for p in self.plugins if p.name == point.name), None)) is not None:
                raise BrokenPlugin(
                    f"{other.distribution} already has a plugin named {point.name!r}: uninstall one of the two"
                )
            loaded = load_plugin(point, seconds)
            report = msgspec.structs.replace(report, hooks=loaded.hooks)
            self._take(point, loaded)
        except BrokenPlugin as error:
            report = msgspec.structs.replace(report, error=str(error))
        self.plugins.append(report)

    def _take(self, point: EntryPoint, loaded: Loaded) -> None:
        """Add the plugin's specs, all or none."""
        providers = cast("list[ProviderSpec]", loaded.specs.get("register_ai_providers", []))
        parsers = cast("list[ParserSpec]", loaded.specs.get("register_parsers", []))
        backends = cast("list[AuthBackendSpec]", loaded.specs.get("register_auth_backends", []))
        _refuse_duplicates("provider", [s.kind for s in providers], self.providers)
        _refuse_duplicates("parser", [s.kind for s in parsers], self.entry_points)
        _refuse_duplicates("sign-in", [s.kind for s in backends], self.auth_backends)
        self.providers.update((spec.kind, spec) for spec in providers)
        self.auth_backends.update((spec.kind, spec) for spec in backends)
        self.entry_points.update((spec.kind, point) for spec in parsers)
        self.parsers = tuple(sorted((*self.parsers, *parsers), key=lambda spec: (-spec.priority, spec.kind)))

    def _require(self, name: str, allow: tuple[str, ...] | None) -> None:
        report = next((plugin for plugin in self.plugins if plugin.name == name), None)
        if report is not None and report.error is None:
            return
        if report is not None:
            raise PluginsRequired(f"the plugin {name!r} is required and does not work: {report.error}")
        if allow is not None and name not in allow:
            raise PluginsRequired(
                f"the plugin {name!r} is required and not allowed: add it to FOLKMOOT_PLUGINS, "
                "or take it from FOLKMOOT_PLUGINS_REQUIRED"
            )
        there = ", ".join(sorted({plugin.name for plugin in self.plugins})) or "none"
        raise PluginsRequired(
            f"the plugin {name!r} is required and not installed (installed: {there}): install it, "
            "or take it from FOLKMOOT_PLUGINS_REQUIRED"
        )


def load_plugin(point: EntryPoint, seconds: float = LOAD_SECONDS) -> Loaded:
    """Import one plugin, call its hooks, check what they return. Raises `BrokenPlugin`."""
    outcome: list[Loaded | BaseException] = []

    def work() -> None:
        try:
            outcome.append(call_hooks(point))
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
            outcome.append(error)

    # A thread, so that a plugin that never comes back costs the start `seconds` and not the start.
    thread = threading.Thread(target=work, name=f"load {point.name}", daemon=True)
    begun = time.monotonic()
    thread.start()
    thread.join(seconds)
    if not outcome:
        waited = time.monotonic() - begun
        raise BrokenPlugin(
            f"did not finish importing and registering within {waited:.0f} s: do no work there, hooks only return specs"
        )
    match outcome[0]:
        case Loaded() as loaded:
            return loaded
        case BrokenPlugin() as error:
            raise error
        case error:
            raise BrokenPlugin(f"{type(error).__name__}: {_first_line(error)}") from error


def call_hooks(point: EntryPoint) -> Loaded:
    """Import one plugin and collect its specs in this thread, letting its failures through."""
    module = point.load()
    if not isinstance(module, ModuleType):
        raise BrokenPlugin(f"its entry point {point.value!r} is not a module: name the module that holds the hooks")
    api = getattr(module, "FOLKMOOT_SDK_API", None)
    if api != SDK_API:
        has = "does not state FOLKMOOT_SDK_API" if api is None else f"is written for version {api!r} of the SDK"
        raise BrokenPlugin(f"{has}, this host speaks version {SDK_API}: install a release of the plugin for it")
    plugins = pluggy.PluginManager(GROUP)
    plugins.add_hookspecs(hooks)
    _refuse_unknown_hooks(plugins, module)
    try:
        plugins.register(module, point.name)
    except pluggy.PluginValidationError as error:
        raise BrokenPlugin(f"a hook takes no argument: {_first_line(error)}") from error
    loaded = Loaded(specs={})
    known = [caller for caller in plugins.get_hookcallers(module) or () if caller.name in _RETURNS]
    callers = sorted(known, key=lambda caller: caller.name)
    if not callers:
        raise BrokenPlugin(f"{point.value} implements no hook: mark a function register_... with @hookimpl")
    loaded.hooks = tuple(caller.name for caller in callers)
    for caller in callers:
        results = cast("list[object]", caller())
        loaded.specs[caller.name] = _checked(caller.name, results[0] if results else [])
    return loaded


def _refuse_unknown_hooks(plugins: pluggy.PluginManager, module: ModuleType) -> None:
    for name in dir(module):
        options = plugins.parse_hookimpl_opts(module, name)
        if options is None or options.get("optionalhook"):
            continue
        hook = options.get("specname") or name
        if hook not in _RETURNS:
            close = get_close_matches(hook, _RETURNS, n=1)
            hint = f"did you mean {close[0]}" if close else f"there are {', '.join(_RETURNS)}"
            raise BrokenPlugin(f"unknown hook {hook}: {hint}")


def _checked(hook: str, result: object) -> list[Any]:
    expected = _RETURNS[hook]
    if not isinstance(result, list | tuple):
        raise BrokenPlugin(f"{hook} returns {type(result).__name__}: return a list of {expected.__name__}")
    for spec in cast("Sequence[object]", result):
        if not isinstance(spec, expected):
            raise BrokenPlugin(f"{hook} returns a list with {type(spec).__name__} in it, not {expected.__name__}")
        _check(cast("ProviderSpec | ParserSpec | AuthBackendSpec", spec))
    return list(cast("Sequence[Any]", result))


def _check(spec: ProviderSpec | ParserSpec | AuthBackendSpec) -> None:
    """msgspec checks types only when it decodes; a spec is made by a call."""
    values: dict[str, Any] = {name: getattr(spec, name) for name in spec.__struct_fields__}
    kind = values["kind"]
    if not isinstance(kind, str) or not _KIND.match(kind):
        raise BrokenPlugin(f"kind {kind!r} is not lower-case letters, digits and hyphens")
    if not isinstance(values["title"], str) or not values["title"].strip():
        raise BrokenPlugin(f"{kind} has no title")
    for name in ("connect", "parse", "sniff"):
        if name in values and not callable(values[name]):
            raise BrokenPlugin(f"{kind}: {name} cannot be called")
    if "config" in values:
        _check_config(kind, values["config"])
    else:
        _check_words(kind, "media_types", values["media_types"], _MEDIA_TYPE)
        _check_words(kind, "suffixes", values["suffixes"], _SUFFIX)
        if not isinstance(values["priority"], int):
            raise BrokenPlugin(f"{kind}: priority is {values['priority']!r}, not a whole number")


def _check_config(kind: str, config: object) -> None:
    if not isinstance(config, type) or not issubclass(config, msgspec.Struct):
        raise BrokenPlugin(f"{kind}: config is {config!r}, not a class derived from msgspec.Struct")
    try:
        config_schema(config)
    except (TypeError, NotImplementedError, NameError) as error:
        raise BrokenPlugin(f"{kind}: its configuration has no JSON Schema: {_first_line(error)}") from error


def _check_words(kind: str, field: str, words: object, pattern: re.Pattern[str]) -> None:
    if not isinstance(words, tuple) or not words:
        raise BrokenPlugin(f"{kind}: {field} is {words!r:.60}, not a tuple of at least one")
    for word in cast("tuple[object, ...]", words):
        if not isinstance(word, str) or not pattern.match(word):
            raise BrokenPlugin(f"{kind}: {word!r} in {field} is malformed")


def _refuse_duplicates(what: str, kinds: Sequence[str], taken: Iterable[str]) -> None:
    for number, kind in enumerate(kinds):
        if kind in taken or kind in kinds[:number]:
            raise BrokenPlugin(f"the {what} kind {kind!r} is already taken by another plugin: choose another kind")


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["(no message)"])[0][:500]
