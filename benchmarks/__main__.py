"""`make bench`: run all, or those named: `python -m benchmarks answers start`.

Some measure on public files and retrieval sets, which are not ours to hand on: `--corpora FOLDER` says where they are
(`FOLDER/docs`, `FOLDER/retrieval`); without it they are left out, and it is said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    answers,
    audit,
    budgets,
    chaos,
    citations,
    conversation,
    fallback,
    followups,
    gateway,
    grounded,
    identity,
    memory,
    million,
    pipeline,
    reading,
    resume,
    retrieval,
    start,
    words,
)
from benchmarks.report import Report
from tests.support.openai_stub import OpenAIStub  # noqa: F401 - fails here, and not midway, without the stub

ALL: dict[str, Callable[[Report, Path], None]] = {
    "start": start.run,
    "answers": answers.run,
    "resume": resume.run,
    "chaos": chaos.run,
    "grounded": grounded.run,
    "conversation": conversation.run,
    "reading": reading.run,
    "identity": identity.run,
    "audit": audit.run,
    "budgets": budgets.run,
    "citations": citations.run,
    "fallback": fallback.run,
    "followups": followups.run,
    "gateway": gateway.run,
    "pipeline": pipeline.run,
    "memory": memory.run,
    "million": million.run,
}
ON_CORPORA: dict[str, Callable[[Report, Path, Path], None]] = {"words": words.run, "retrieval": retrieval.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*ALL, *ON_CORPORA]))
    parser.add_argument("--corpora", type=Path, help="folder of public files and retrieval sets")
    given = parser.parse_args()
    if unknown := set(given.names) - set(ALL) - set(ON_CORPORA):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    report = Report()
    for name in given.names or [*ALL, *ON_CORPORA]:
        with tempfile.TemporaryDirectory(prefix="folkmoot-bench-") as folder:
            if name in ALL:
                ALL[name](report, Path(folder))
            elif given.corpora is None:
                report.note(f"{name} is left out: it needs --corpora FOLDER")
            else:
                ON_CORPORA[name](report, Path(folder), given.corpora)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
