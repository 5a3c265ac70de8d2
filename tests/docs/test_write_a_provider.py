"""The tutorial for plugin authors is run from its first command to the installed plugin's answer."""

from __future__ import annotations

import shutil
import sys
import venv

import pytest

from tests.docs.running import run
from tests.support.server import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page shows commands for curl, which is not here"),
]
# Whatever the page leaves running ends with it, and it is over when that has ended.
END = "trap 'kill $(jobs -p); wait' EXIT\n"


@pytest.fixture
def environment(tmp_path):
    """An environment that has all that ours has, in which the page may install what it likes."""
    made = tmp_path / "environment"
    venv.create(made, symlinks=True)
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    theirs = next((made / "lib").glob("python*/site-packages"))
    # Ours has `.pth` files of its own, which are read only this way.
    (theirs / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    command = made / "bin" / "folkmoot"
    command.write_text(f'#!/bin/sh\nexec "{made}/bin/python" -m folkmoot "$@"\n')
    command.chmod(0o755)
    return made


def test_the_tutorial_ends_with_an_answer_of_the_plugin(environment, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    ports = {shown: str(free_port()) for shown in ("8700", "8000")}
    real = {f"127.0.0.1:{shown}": f"127.0.0.1:{port}" for shown, port in ports.items()}
    real |= {'("127.0.0.1", 8700)': f'("127.0.0.1", {ports["8700"]})', "--port 8000": f"--port {ports['8000']}"}
    path = f"export PATH='{environment}/bin':\"$PATH\" PIP_DISABLE_PIP_VERSION_CHECK=1\n"
    run("docs/tutorials/write-a-provider.md", folder, real, path + END)
