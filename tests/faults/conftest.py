"""What was killed, where, and what became of it, as a table behind the tests (``record_property("kills", rows)``)."""

from __future__ import annotations

from typing import Any

import pytest

from faults.report import table


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for found in terminalreporter.stats.values() for report in found]
    rows = [
        row
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, recorded in report.user_properties
        if name == "kills"
        for row in recorded
    ]
    if rows:
        terminalreporter.section("kills")
        terminalreporter.write_line(table(rows))
