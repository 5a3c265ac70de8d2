"""What a crawl does with a site: each page once, each with its fate, and nothing that is not on it."""

from __future__ import annotations

import pytest


async def test_every_page_that_is_linked_becomes_a_document_that_can_be_searched(site, crawling, owner):
    site.page("/", "Start", "Welcome to the municipality.", "/permits", "/fences?x=1#top", "/missing", "/old")
    site.page("/permits", "Permits", "A permit takes three weeks.", "/", "/permits/form")
    site.page("/permits/form", "Form", "Write in blue ink.")
    site.page("/fences?x=1", "Fences", "A fence may be 1.2 metres high.")
    site.redirect("/old", "/new")
    site.page("/new", "New", "Everything is new.")
    site.put("/gone", status=410)
    website = await crawling(site)
    done = await website.run()
    assert (done.status, done.complete, done.reached, done.error) == ("completed", True, None, None)
    assert done.fates == {
        "/": "new",
        "/permits": "new",
        "/fences?x=1": "new",
        "/missing": "not-found",
        "/old": "redirected",
        "/permits/form": "new",
        "/new": "new",
    }
    assert done.counts["new"] == 5
    assert done.counts["not_found"] == 1
    assert done.counts["waiting"] == 0
    assert done.rows["/permits/form"]["depth"] == 2
    assert done.rows["/permits/form"]["found_on"] == f"{site.url}/permits"
    assert done.rows["/old"]["target"] == f"{site.url}/new"
    documents = await website.documents()
    assert set(documents) == {"/", "/permits", "/permits/form", "/fences?x=1", "/new"}
    assert {item["status"] for item in documents.values()} == {"ready"}
    assert documents["/permits"]["title"] == "Permits"
    # The menus are on every page, and in no document.
    assert "/fences" not in await website.text(documents["/"]["id"])
    found = await owner.post(f"/collections/{website.collection_id}/search", json={"query": "how high is a fence"})
    assert "1.2 metres" in found.json()["items"][0]["text"]
    stands = await website.read()
    assert (stands["state"], stands["title"], stands["last_crawl"]["id"]) == ("ready", "Start", done.id)
    assert len(site.paths) == len(set(site.paths)) == 7


async def test_one_page_under_many_spellings_is_asked_for_once(site, crawling):
    spellings = (
        "/%C3%A5%C3%A4%C3%B6/sida",
        "/åäö/sida",
        "/x/../%c3%a5%c3%a4%c3%b6/sida",
        "/åäö/sida?utm_id=mail#a",
    )
    site.page("/", "Start", "", *spellings, f"{site.url.replace('http', 'HTTP')}/åäö/sida")
    site.page("/%C3%A5%C3%A4%C3%B6/sida", "Sida", "Räksmörgås.")
    done = await (await crawling(site)).run()
    assert done.fates == {"/": "new", "/%C3%A5%C3%A4%C3%B6/sida": "new"}
    assert site.paths == ["/", "/%C3%A5%C3%A4%C3%B6/sida"]


async def test_nothing_off_the_site_is_asked_for(site, other_site, crawling):
    strange = ("http://169.254.169.254/latest", "http://127.0.0.1:1/", "file:///etc/passwd", "//example.org/x")
    site.page("/", "Start", "", other_site.url + "/secret", "mailto:a@b.example", "javascript:void(0)", *strange)
    site.redirect("/away", other_site.url + "/secret")
    site.page("/on", "On", "")
    website = await crawling(site)
    site.page("/", "Start", "", "/away", other_site.url + "/secret", *strange)
    done = await website.run()
    assert done.fates["/away"] == "redirected:off-site"
    assert {fate for url, fate in done.fates.items() if "example.org" in url or "169.254" in url} == {
        "skipped:off-site"
    }
    assert other_site.asked == []


async def test_what_robots_txt_keeps_to_itself_is_not_asked_for(site, crawling):
    site.robots("User-agent: *\nDisallow: /\n\nUser-agent: Folkmoot\nDisallow: /private/\nAllow: /private/open")
    site.page("/", "Start", "", "/private/x", "/private/open", "/%70rivate/y", "/a/%2e%2e/private/z")
    site.page("/private/open", "Open", "")
    done = await (await crawling(site)).run()
    assert done.fates == {
        "/": "new",
        "/private/x": "skipped:robots",
        "/private/open": "new",
        "/private/y": "skipped:robots",
        "/private/z": "skipped:robots",
    }
    assert site.paths == ["/", "/private/open"]


async def test_a_site_that_forbids_all_says_so_and_is_not_asked_for_a_page(site, crawling):
    site.robots("User-agent: *\nDisallow: /")
    site.page("/", "Start", "")
    website = await crawling(site)
    done = await website.run()
    assert (done.status, done.error["code"]) == ("failed", "robots-forbid")
    assert site.paths == []
    assert (await website.read())["state"] == "failed"


async def test_rules_that_cannot_be_had_may_forbid_all(site, crawling):
    site.put("/robots.txt", b"down", 500)
    site.page("/", "Start", "")
    done = await (await crawling(site)).run()
    assert (done.status, done.error["code"]) == ("failed", "robots-unreachable")
    assert site.paths == []


async def test_what_a_page_says_of_itself_is_followed(site, crawling):
    site.page("/", "Start", "", "/noindex", "/nofollow", "/header", "/other-machine")
    site.page("/noindex", "Hidden", "", "/behind", head='<meta name="robots" content="NoIndex">')
    site.page("/nofollow", "Leaf", "", "/never", head='<meta name="folkmoot" content="nofollow">')
    site.page("/header", "Header", "", "/never", x_robots_tag="none")
    site.page("/other-machine", "Other", "", x_robots_tag="googlebot: noindex, nofollow")
    site.page("/behind", "Behind", "", head='<a rel="nofollow" href="/never">')
    done = await (await crawling(site)).run()
    assert done.fates == {
        "/": "new",
        "/noindex": "skipped:noindex",
        "/nofollow": "new",
        "/header": "skipped:noindex",
        "/other-machine": "new",
        "/behind": "new",
    }


async def test_duplicates_become_one_document(site, crawling):
    site.page("/", "Start", "", "/print", "/article", "/copy", "/lost")
    canonical = '<link rel="canonical" href="{}">'
    site.page("/print", "Article", "The text.", head=canonical.format("/article"))
    site.page("/article", "Article", "The text of it.", head=canonical.format("/article"))
    site.page("/copy", "Article", "The text of it.")
    site.page("/lost", "Lost", "It names what is not there.", head=canonical.format("/nowhere"))
    done = await (await crawling(site)).run()
    assert done.fates == {
        "/": "new",
        "/print": "skipped:duplicate",
        "/article": "new",
        "/copy": "skipped:duplicate",
        "/lost": "new",
        "/nowhere": "not-found",
    }
    assert done.rows["/print"]["target"] == done.rows["/copy"]["target"] == f"{site.url}/article"


async def test_a_template_that_names_the_first_page_everywhere_hides_nothing(site, crawling):
    head = '<link rel="canonical" href="/">'
    site.page("/", "Start", "", "/a", "/index.html", head=head)
    site.page("/a", "A", "", head=head)
    site.page("/index.html", "Start again", "", head=head)
    done = await (await crawling(site)).run()
    assert done.fates == {"/": "new", "/a": "new", "/index.html": "skipped:duplicate"}


async def test_patterns_say_which_paths_are_wanted(site, crawling):
    site.page("/", "Start", "", "/docs/a", "/docs/print/a", "/news", "/docs/åäö")
    for path in ("/docs/a", "/docs/print/a", "/news", "/docs/%C3%A5%C3%A4%C3%B6"):
        site.page(path, path, "")
    done = await (await crawling(site, include=["/docs/*"], exclude=["*/print/*", "/docs/å*"])).run()
    assert done.fates == {
        "/": "skipped:excluded",
        "/docs/a": "new",
        "/docs/print/a": "skipped:excluded",
        "/news": "skipped:excluded",
        "/docs/%C3%A5%C3%A4%C3%B6": "skipped:excluded",
    }


async def test_documents_that_pages_link_to_are_read_if_that_is_asked_for(site, crawling):
    site.page("/", "Start", "", "/rules.txt", "/download?id=7", "/picture.png", "/archive.zip", "/film")
    site.put("/rules.txt", b"A fence may be 1.2 metres high.", content_type="text/plain; charset=utf-8")
    site.put("/download?id=7", b"item;price\nfence;12\n", content_type="text/csv")
    site.put("/film", b"\x00\x00", content_type="video/mp4")
    without = await (await crawling(site)).run()
    assert without.fates["/rules.txt"] == without.fates["/download?id=7"] == "skipped:type"
    website = await crawling(site, download_files=True)
    done = await website.run()
    assert done.fates == {
        "/": "new",
        "/rules.txt": "new",
        "/download?id=7": "new",
        "/picture.png": "skipped:type",
        "/archive.zip": "skipped:type",
        "/film": "skipped:type",
    }
    documents = await website.documents()
    assert (documents["/rules.txt"]["name"], documents["/download?id=7"]["name"]) == ("rules.txt", "download.csv")
    assert {item["status"] for item in documents.values()} == {"ready"}


@pytest.mark.parametrize(
    ("limits", "reached", "pages"),
    [
        ({"max_pages": 3}, "pages", ["/", "/1", "/2"]),
        ({"max_bytes": 1_000}, "bytes", None),
        ({"max_depth": 1}, None, ["/", "/1", "/2", "/3", "/4", "/5"]),
    ],
)
async def test_a_limit_ends_a_crawl_and_the_report_says_which(site, crawling, limits, reached, pages):
    site.page("/", "Start", "", *(f"/{number}" for number in range(1, 6)))
    for number in range(1, 6):
        site.page(f"/{number}", f"Page {number}", f"{number} " * 200, f"/{number}/deeper")
        site.page(f"/{number}/deeper", f"Deep {number}", "")
    website = await crawling(site, **limits)
    done = await website.run()
    assert (done.status, done.reached, done.complete) == ("completed", reached, reached is None)
    assert pages is None or site.paths == pages
    why = f"skipped:{reached or 'depth'}"
    assert why in done.fates.values()
    assert (await website.read())["state"] == ("partial" if reached else "ready")


async def test_links_that_lost_their_slash_end_by_themselves(site, crawling):
    for depth in range(12):
        site.page("/" + "a/b/" * depth, f"Depth {depth}", "", "a/b/")
    done = await (await crawling(site, max_depth=100)).run()
    assert len(site.paths) == 4
    assert [fate for fate in done.fates.values() if fate != "new"] == ["skipped:repeats-itself"]


async def test_a_page_in_another_encoding_that_only_the_server_names_is_read_right(site, crawling):
    body = "<html><title>Ålder</title><body><p>räksmörgås på ön är gott att äta varje dag</p></body></html>"
    site.put("/", body.encode("latin-1"), content_type="text/html; charset=ISO-8859-1")
    website = await crawling(site)
    await website.run()
    documents = await website.documents()
    assert "räksmörgås på ön" in await website.text(documents["/"]["id"])
    assert documents["/"]["title"] == "Ålder"
