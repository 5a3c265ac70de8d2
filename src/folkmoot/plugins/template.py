"""`folkmoot plugins new`: a provider plugin that installs, answers and passes the conformance kit as it is."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from folkmoot.kit.errors import BadRequest, Conflict

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_LONGEST = 40
_SKIPPED = frozenset({"__pycache__", ".pytest_cache"})


def folder() -> Path:
    """Where the template lies: inside the installed package, or at its place in a checkout."""
    inside = Path(__file__).parent / "_template"
    return inside if inside.exists() else Path(__file__).parents[3] / "plugins" / "template"


def render(name: str, into: Path) -> Path:
    """Write the template as the provider `name` into a new folder below `into`, and return that folder.

    It appears whole or not at all. Raises `BadRequest` for a name that no kind can have, and `Conflict` if
    the folder exists.
    """
    if not _NAME.match(name) or len(name) > _LONGEST:
        raise BadRequest(
            f"{name!r} cannot be the name of a provider: take at most {_LONGEST} lower-case letters, digits and "
            "single hyphens, with a letter first"
        )
    distribution = f"folkmoot-provider-{name}"
    target = into / distribution
    if target.exists():
        raise Conflict(f"{target} is there already: choose another name, or another folder with --into")
    words = {
        "__distribution__": distribution,
        "__module__": distribution.replace("-", "_"),
        "__kind__": name,
        "__title__": name.replace("-", " ").capitalize(),
    }
    into.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{distribution}-", dir=into))
    try:
        _write(folder(), draft, words)
        draft.chmod(0o755)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _write(source: Path, target: Path, words: dict[str, str]) -> None:
    for found in sorted(source.iterdir()):
        if found.name in _SKIPPED:
            continue
        made = target / _filled(found.name, words)
        if found.is_dir():
            made.mkdir()
            _write(found, made, words)
        else:
            made.write_text(_filled(found.read_text(encoding="utf-8"), words), encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text
