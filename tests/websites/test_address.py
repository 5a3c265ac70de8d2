"""One spelling for each address, and what lies on a site."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.websites.address import Paths, Site, is_trap, normal, suffix

BASE = "http://site.example/d/e"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HTTP://Exämple.org:80/a/../%7eb?utm_source=x#c", "http://xn--exmple-cua.org/~b"),
        ("/åäö?q=ö", "http://site.example/%C3%A5%C3%A4%C3%B6?q=%C3%B6"),
        ("f g", "http://site.example/d/f%20g"),
        ("?x=1&utm_campaign=2&&y", "http://site.example/d/e?x=1&y"),
        ("//other.example:8080/x;jsessionid=12?a=%2f", "http://other.example:8080/x?a=%2F"),
        ("http:\\\\other.example\\x", "http://other.example/x"),
        ("https://user:pw@other.example/", "https://other.example/"),
        ("/100%", "http://site.example/100%25"),
        ("/a/%2e%2e/b", "http://site.example/b"),
        ("/.well-known/x", "http://site.example/.well-known/x"),
        ("\n /a\tb ", "http://site.example/ab"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("https://other.example.", "https://other.example/"),
        ("#top", "http://site.example/d/e"),
    ],
)
def test_what_is_written_and_what_is_meant(written, meant):
    assert normal(written, BASE) == meant


@pytest.mark.parametrize(
    "written",
    ["mailto:a@b.example", "javascript:void(0)", "tel:1", "data:text/html,x", "file:///etc/passwd", "http://[x",
     "C:\\a", "http://a.example:0/", "http://\ud800/", "/" + "x" * 3_000, "ftp://a.example/", "http://a b/"],
)  # fmt: skip
def test_where_no_page_can_be(written):
    assert normal(written, BASE) is None


@given(st.text(max_size=60))
def test_a_spelling_is_its_own(written):
    if (found := normal(written, BASE)) is not None:
        assert found.startswith(("http://", "https://"))
        assert normal(found) == found
        assert normal(found, BASE) == found


def test_a_site_is_one_host_and_https_swallows_http():
    site = Site.of("https://site.example/start")
    assert site.home("http://site.example/a") == "https://site.example/a"
    assert site.home("https://site.example/a") == "https://site.example/a"
    for elsewhere in (
        "https://www.site.example/",
        "https://site.example:8443/",
        "http://site.example:8080/",
        "https://a/",
    ):
        assert site.home(elsewhere) is None
        assert not site.trusts(elsewhere)
    assert not site.trusts("http://site.example/a")
    assert Site.of("http://site.example/").home("https://site.example/a") == "https://site.example/a"
    assert Site.of("http://site.example:80/").is_kin(Site.of("https://www.site.example/"))
    assert not site.is_kin(Site.of("http://www.site.example/"))
    assert not site.is_kin(Site.of("https://evil-site.example/"))


def test_patterns_are_of_whole_paths_as_people_write_them():
    paths = Paths(["/åäö/*", "*.html?x=*"], ["*[[]draft]*"])
    assert paths.allow("http://a.example/%C3%A5%C3%A4%C3%B6/b/c")
    assert paths.allow("http://a.example/b.html?x=1")
    assert not paths.allow("http://a.example/b.html")
    assert not paths.allow("http://a.example/%C3%A5%C3%A4%C3%B6/[draft]")
    assert Paths([], []).allow("http://a.example/")


def test_paths_that_repeat_themselves_are_traps():
    assert is_trap("http://a.example/" + "a/b/" * 4)
    assert is_trap("http://a.example/" + "/".join(str(number) for number in range(40)))
    assert not is_trap("http://a.example/2026/01/01/01/a")


def test_the_ending_of_a_path():
    assert suffix("http://a.example/b/C.PDF?x=.html") == ".pdf"
    assert suffix("http://a.example/b.c/") == ""
    assert suffix("http://a.example/v1.2 final.draft-of-it") == ""
