"""The lock of the litellm proxy leads where ours leads, and leaves out what is not free software."""

from __future__ import annotations

import re
import tomllib

from tests.support.litellm_proxy import PROJECT, ROOT


def hosts(lock):
    return set(re.findall(r'"https?://([^/"]+)', lock.read_text(encoding="utf-8")))


def test_its_packages_come_from_where_ours_come_from():
    assert hosts(PROJECT / "uv.lock") <= hosts(ROOT / "uv.lock")


def test_it_is_pinned_without_the_part_that_is_not_free():
    packages = {item["name"]: item for item in tomllib.loads((PROJECT / "uv.lock").read_text())["package"]}
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == [f"litellm[proxy]=={packages['litellm']['version']}"]
    assert "litellm-enterprise" not in packages
