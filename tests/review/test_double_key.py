"""Fields that the form wants keyed twice: never accepted by the machine alone."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.mark.slow
def test_a_field_with_double_key_waits_however_sure_the_machine_is(
    digitocr: Any, workplace: Any
) -> None:
    template = workplace / "forms" / "slip" / "template.toml"
    text = template.read_text(encoding="utf-8")
    template.write_text(
        text.replace('name = "second"', 'name = "second"\ndouble_key = true'), encoding="utf-8"
    )
    digitocr("process", "scans")
    rows = [
        json.loads(line) for line in digitocr("export", "--format", "jsonl").out.splitlines()
    ]
    second = [row for row in rows if row["field"] == "second"]
    others = [row for row in rows if row["field"] != "second"]
    assert len(second) == 3
    assert all("double-key" in row["reasons"] for row in second)
    assert {row["status"] for row in second} == {"review"}
    assert not any("double-key" in row["reasons"] for row in others)
    assert any(row["status"] == "accepted" for row in others)
