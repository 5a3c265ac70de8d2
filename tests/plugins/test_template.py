"""What `folkmoot plugins new` writes works before anybody has changed a line of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from folkmoot.cli import main
from folkmoot.kit.errors import BadRequest, Conflict
from folkmoot.plugins.manager import PluginManager
from folkmoot.plugins.template import render


def test_its_own_tests_pass(tmp_path):
    plugin = render("night-watch", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(plugin), str(plugin)],
        env={**os.environ, "PYTHONPATH": str(plugin / "src")},
        cwd=plugin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_host_loads_it_by_its_entry_point(tmp_path, monkeypatch):
    plugin = render("night-watch", tmp_path)
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    # As an installer would leave it.
    info = plugin / "src" / "folkmoot_provider_night_watch-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{key} = {value}\n" for key, value in project["entry-points"]["folkmoot"].items())
    (info / "entry_points.txt").write_text(f"[folkmoot]\n{points}")
    monkeypatch.syspath_prepend(str(plugin / "src"))

    manager = PluginManager.load(allow=("provider-night-watch",))

    assert [(found.name, found.error) for found in manager.plugins] == [("provider-night-watch", None)]
    assert manager.providers["night-watch"].title == "Night watch"


def test_it_is_about_twenty_lines_of_python(tmp_path):
    source = (render("night-watch", tmp_path) / "src/folkmoot_provider_night_watch/__init__.py").read_text()
    tree = ast.parse(source)
    notes = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    lines = [line for number, line in enumerate(source.splitlines(), start=1) if number not in notes]
    assert 15 <= len([line for line in lines if line.strip() and not line.strip().startswith("#")]) <= 24


def test_no_placeholder_is_left(tmp_path):
    plugin = render("night-watch", tmp_path)
    files = [path for path in plugin.rglob("*") if path.is_file()]
    assert {path.relative_to(plugin).as_posix() for path in files} == {
        "README.md",
        "pyproject.toml",
        "src/folkmoot_provider_night_watch/__init__.py",
        "tests/test_provider.py",
    }
    for path in files:
        for placeholder in ("__distribution__", "__module__", "__kind__", "__title__"):
            assert placeholder not in path.read_text(), f"{path} still has {placeholder}"


@pytest.mark.parametrize("name", ["", "Weather", "-x", "x-", "x--y", "1st", "a_b", "../up", "å", "x" * 41, "x\n"])
def test_a_name_that_no_kind_can_have_is_refused_and_leaves_nothing(name, tmp_path):
    with pytest.raises(BadRequest, match="cannot be the name of a provider"):
        render(name, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_what_is_there_is_never_overwritten(tmp_path):
    mine = render("weather", tmp_path) / "README.md"
    mine.write_text("my own words")
    with pytest.raises(Conflict, match="is there already"):
        render("weather", tmp_path)
    assert mine.read_text() == "my own words"
    assert [path.name for path in tmp_path.iterdir()] == ["folkmoot-provider-weather"]


def test_the_command_says_where_it_wrote_and_refuses_in_one_sentence(tmp_path):
    written = CliRunner().invoke(main, ["plugins", "new", "weather", "--into", str(tmp_path)])
    assert written.exit_code == 0
    assert str(tmp_path / "folkmoot-provider-weather") in written.output

    again = CliRunner().invoke(main, ["plugins", "new", "weather", "--into", str(tmp_path)])
    assert again.exit_code == 1
    assert again.output.count("\n") == 1
    assert "is there already" in again.output


def test_the_template_is_part_of_what_is_installed():
    """Hatch copies it into the package; without this line an installed Folkmoot has no template."""
    root = Path(__file__).parents[2]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["plugins/template"] == "folkmoot/plugins/_template"
