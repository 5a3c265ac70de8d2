"""The plugin pages: each hook has its heading, and the plugins that they show pass the conformance kit."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from folkmoot_sdk import hooks

from tests.docs.blocks import ROOT, blocks

SHOWN = {path.name: blocks(f"docs/plugins/{path.name}") for path in sorted((ROOT / "docs" / "plugins").glob("*.md"))}
RUN = {name: [block for block in found if block.mark == "run"] for name, found in SHOWN.items()}


def test_every_hook_has_a_heading_with_its_signature():
    page = (ROOT / "docs" / "plugins" / "hooks.md").read_text(encoding="utf-8")
    specified = {name for name in dir(hooks) if hasattr(getattr(hooks, name), "folkmoot_spec")}
    assert len(specified) >= 3
    assert set(re.findall(r"^## `(\w+)`$", page, re.MULTILINE)) == specified
    for name in specified:
        section = page.partition(f"## `{name}`")[2].partition("\n## ")[0]
        assert f"def {name}() -> " in section
        assert "Conformance" in section, f"{name} does not say which kit tests it"


@pytest.mark.parametrize("page", [name for name, found in RUN.items() if found])
def test_the_plugin_of_the_page_passes_the_conformance_kit(page, tmp_path):
    assert {block.language for block in RUN[page]} == {"python"}
    module = tmp_path / f"test_page_{page.removesuffix('.md')}.py"
    module.write_text("\n\n".join(block.text for block in RUN[page]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(module)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b\d\d passed", done.stdout), "the page shows no kit, or a very short one"


def test_all_pages_with_a_plugin_are_run():
    assert {name for name, found in RUN.items() if found} == {
        "hooks.md",
        "providers.md",
        "openai-dialect.md",
        "parsers.md",
        "auth.md",
    }
