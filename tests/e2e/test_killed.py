"""Processes that are killed by -9 while people ask, and lines that break: every question ends, with all that was read.

The short form of two benchmarks, `chaos` and `resume`.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import chaos, resume
from tests.support.installation import installation
from tests.support.openai_stub import stub_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("e2e")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two processes of the API and two workers."""
    folder = tmp_path_factory.mktemp("killed")
    with stub_process() as url, installation(folder, OPENAI_API_KEY="stub", OPENAI_BASE_URL=url) as running:
        yield running


def test_a_reader_that_is_cut_off_and_goes_on_at_another_process_has_the_same_text(made):
    same, cuts, differs = asyncio.run(resume.measure(made, cuts=10, readers=2, tokens=80))
    assert (same, differs) == (2, 0)
    assert cuts >= 10


def test_no_question_is_lost_or_left_open_when_processes_are_killed(made):
    found = asyncio.run(chaos.measure(made, seconds=10, together=8))
    assert found.wrong == []
    assert sum(found.kills.values()) == 5
    assert len(found.readers) >= 8
    assert sum(found.states.values()) == len(found.readers)
    assert set(found.states) <= {"complete", "stopped", "failed"}
