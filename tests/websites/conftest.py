"""Websites on loopback, and crawls that are run to their end by the worker of the tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from folkmoot.websites import robots, take, visit
from tests.websites.site import started, until


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Loopback needs no pauses; a test of politeness sets its own."""
    monkeypatch.setattr(robots, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(visit, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(take, "RETRY_SECONDS", 0.05)


@pytest.fixture
async def site():
    async with started() as made:
        yield made


@pytest.fixture
async def other_site():
    async with started() as made:
        yield made


class Crawling:
    """One website in a collection of its own."""

    def __init__(self, person, collection_id, website):
        self.person, self.collection_id, self.id = person, collection_id, website["id"]

    async def begin(self) -> dict:
        answer = await self.person.post(f"/websites/{self.id}/crawl")
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def run(self) -> SimpleNamespace:
        """A crawl to its end: `status` and such, and `fates` by path."""
        return await self.end((await self.begin())["id"])

    async def end(self, crawl_id: str, seconds: float = 60) -> SimpleNamespace:
        async def ended():
            found = await self.crawl(crawl_id)
            return None if found["status"] in ("queued", "running") else found

        found = await until(ended, seconds)
        rows = await self.every(f"/crawls/{crawl_id}/pages")
        fates = {path_of(row["url"]): row["fate"] + (f":{row['reason']}" if row["reason"] else "") for row in rows}
        return SimpleNamespace(**found, fates=fates, rows={path_of(row["url"]): row for row in rows})

    async def crawl(self, crawl_id: str) -> dict:
        return (await self.person.get(f"/crawls/{crawl_id}")).json()

    async def read(self) -> dict:
        return (await self.person.get(f"/websites/{self.id}")).json()

    async def change(self, **fields) -> dict:
        answer = await self.person.patch(f"/websites/{self.id}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def every(self, path: str) -> list[dict]:
        items, cursor = [], None
        while True:
            params = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            answer = (await self.person.get(path, params=params)).json()
            items += answer["items"]
            if (cursor := answer["next_cursor"]) is None:
                return items

    async def pages(self) -> dict[str, dict]:
        return {path_of(row["url"]): row for row in await self.every(f"/websites/{self.id}/pages")}

    async def documents(self) -> dict[str, dict]:
        """By path, once all of them are read."""

        async def read():
            found = await self.every(f"/collections/{self.collection_id}/documents")
            return [found] if all(item["status"] in ("ready", "failed") for item in found) else None

        (found,) = await until(read)
        return {path_of(item["url"]): item for item in found}

    async def text(self, document_id: str) -> str:
        return (await self.person.get(f"/documents/{document_id}/text")).json()["text"]


def path_of(url: str) -> str:
    return "/" + url.split("//", 1)[1].partition("/")[2] if url.startswith("http://127.0.0.1") else url


@pytest.fixture
async def crawling(owner):
    """Adds a website to a new collection: `await crawling(site, kind="sitemap")`."""
    made = []

    async def add(site, path: str = "/", *, by=owner, **fields) -> Crawling:
        collection = await by.collection()
        website = await by.made(f"/collections/{collection}/websites", url=f"{site.url}{path}", **fields)
        made.append(Crawling(by, collection, website))
        return made[-1]

    yield add
    for each in made:
        # What a test left under way would take the time of the next.
        await each.person.post(f"/websites/{each.id}/cancel")
