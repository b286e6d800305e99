"""docs/clients.md names tests; each one must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_tests_that_the_documentation_names_are_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/clients.md").read_text()))
    code = "\n".join(file.read_text() for file in (ROOT / "tests/e2e").glob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", code, re.M))
    assert named, "no test is named any more"
    assert not named - there
