"""One row per sample, condition and seed, in a file that survives a kill: what is written is not measured again.

A folder holds ``run.json`` (what was measured, and how) and ``rows.jsonl``. A later call with the same folder goes on where
the file ends; a call that would measure something else is refused.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motionstream.errors import UserError
from motionstream.files import replacing

Row = dict[str, Any]
Key = tuple[str, str, int]
RUN, ROWS, REPORT = "run.json", "rows.jsonl", "report.json"
SAMPLE = "sample."
"""How settings of `config.SampleConfig` begin in ``run.json``, which no digest of weights tells."""
SHOWN = ("smooth_seams", "recall")
"""What is done to decoded frames, in ``run.json`` where it is done."""


def key_of(row: Row) -> Key:
    """(sample, condition, seed): no two rows of a run share it."""
    return row["sample"], row["condition"], row["seed"]


@dataclass
class RowFile:
    """Rows of one run, in memory and, with a folder, on disk.

    Args:
        folder: where the files are; None keeps rows in memory only.
        identity: everything that must be equal for rows to belong together; JSON values.

    Raises:
        UserError: the folder holds rows of something else, or cannot be written.
    """

    folder: Path | None
    identity: dict[str, Any]

    def __post_init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.kept = 0
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        described, path = self.folder / RUN, self.folder / ROWS
        wanted = json.loads(json.dumps(self.identity))
        if described.is_file():
            self._check(described, wanted)
        elif path.is_file():
            raise UserError(f"{path} has rows but no {RUN} says what they are: choose another --out, or remove it")
        write_json(described, wanted)
        self.rows = {key_of(row): row for row in read_rows(path)}
        self.kept = len(self.rows)
        rewritten = "".join(json.dumps(row) + "\n" for row in self.rows.values())
        with replacing(path, alone=True) as partial:  # without a torn last line
            partial.write_text(rewritten, encoding="utf-8")

    def _check(self, described: Path, wanted: dict[str, Any]) -> None:
        try:
            found = json.loads(described.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{described} is not valid JSON ({error}): choose another --out, or remove it") from error
        if not isinstance(found, dict):
            raise UserError(f"{described} does not say what its rows are: choose another --out, or remove it")
        for name in sorted(wanted.keys() | found.keys()):
            if name.startswith(SAMPLE) and name not in found:
                continue  # a folder from before a setting was kept does not say it
            if wanted.get(name) != found.get(name):
                raise UserError(
                    f"{described.parent} holds rows of another run ({name}: {found.get(name)!r} there, "
                    f"{wanted.get(name)!r} now): choose another --out, or remove the folder"
                )

    def __contains__(self, key: Key) -> bool:
        return key in self.rows

    def add(self, row: Row) -> None:
        """Keep a row; on disk before this returns."""
        row = {name: _finite(value) for name, value in row.items()}
        assert key_of(row) not in self.rows, f"{key_of(row)} was measured twice"
        self.rows[key_of(row)] = row
        if self.folder is not None:
            with (self.folder / ROWS).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    def select(self, keys: Iterable[Key]) -> list[Row]:
        """The rows of ``keys``, in that order; those not measured are left out."""
        return [self.rows[key] for key in keys if key in self.rows]


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not a number is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_rows(path: Path) -> list[Row]:
    """Rows of a file; a torn last line (a kill while writing) is left out, [] without a file.

    Raises:
        UserError: another line that is not a row.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key_of(row)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number} is not a row ({error}): remove the line, or the folder") from error
        rows.append(row)
    return rows


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is complete or not there."""
    with replacing(path, alone=True) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def drawn_by(suite: str, row: Row) -> str:
    """What an interval draws as one: the sample, or the clip where several samples are of one and so not independent."""
    return str(row["kind"] if suite == "transfer" and "kind" in row else row.get("clip", row["sample"]))
