"""`make bench`: run all, or those named: `python -m benchmarks answers start`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import answers, audit, budgets, fallback, gateway, identity, reading, start
from benchmarks.report import Report
from tests.support.openai_stub import OpenAIStub  # noqa: F401 - fails here, and not midway, without the stub

ALL = {
    "start": start.run,
    "answers": answers.run,
    "reading": reading.run,
    "identity": identity.run,
    "audit": audit.run,
    "budgets": budgets.run,
    "fallback": fallback.run,
    "gateway": gateway.run,
}


def main() -> int:
    wanted = sys.argv[1:] or list(ALL)
    report = Report()
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="folkmoot-bench-") as folder:
            ALL[name](report, Path(folder))
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
