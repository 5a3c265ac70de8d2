"""The licence texts are there, and whole."""

from __future__ import annotations

import re

from tests.docs.blocks import ROOT


def test_the_platform_carries_all_articles_of_the_eupl_and_its_appendix():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.lstrip().startswith("EUROPEAN UNION PUBLIC LICENCE v. 1.2\n")
    assert re.findall(r"^(\d+)\. [A-Z]", text, re.MULTILINE) == [str(number) for number in range(1, 16)]
    assert text.partition("\nAppendix\n")[2].rstrip().endswith("EUPL version.")


def test_the_sdk_carries_the_whole_apache_licence():
    text = (ROOT / "plugins" / "sdk" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert re.findall(r"^   (\d)\. [A-Z]", text, re.MULTILINE) == [str(number) for number in range(1, 10)]
    assert "END OF TERMS AND CONDITIONS" in text
    assert text.rstrip().endswith("limitations under the License.")
