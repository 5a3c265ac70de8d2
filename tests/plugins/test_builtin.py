"""Which files the built-in readers know for certain by their first bytes."""

from __future__ import annotations

import pytest

from tests.plugins.parsers.reading import SPECS


@pytest.mark.parametrize("head", [b"<!DOCTYPE html>", b"\xef\xbb\xbf\n <HTML lang=sv>", b"<!-- c --><html>"])
def test_html_is_known_by_its_first_tag(head):
    assert SPECS["html"].sniff(head) == "text/html"


def test_text_that_talks_about_html_is_not_html():
    assert SPECS["html"].sniff(b"Write <html> first.") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_xml_is_known_by_its_declaration(encoding):
    assert SPECS["xml"].sniff('<?xml version="1.0"?>\n<feed/>'.encode(encoding)) == "application/xml"


def test_xhtml_is_html_though_it_declares_itself_as_xml():
    head = b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml">'
    assert SPECS["html"].sniff(head) == "text/html"
    assert SPECS["xml"].sniff(head) is None


@pytest.mark.parametrize("kind", ["text", "markdown", "csv", "json"])
def test_what_looks_like_any_text_is_left_to_its_name(kind):
    assert SPECS[kind].sniff(b'{"a": "b"}') is None
