"""The month-end workbook of marts that are published already: `workbook.py HOME PATH` prints seconds, megabytes and rows."""

import sys
import time
from pathlib import Path

import models

from pipelines import landing, publish
from pipelines.report.workbook import SHEETS, write_workbook

settings = models.configured(Path(sys.argv[1]))
published = publish.published_path(settings)
start = time.monotonic()
path = write_workbook(published, settings, Path(sys.argv[2]))
seconds = time.monotonic() - start
with landing.connect(published, read_only=True) as connection:
    rows = sum(connection.execute(f"SELECT count(*) FROM {sheet.relation}").fetchone()[0] for sheet in SHEETS)
print(f"{seconds:.1f} {path.stat().st_size / 1024**2:.1f} {rows}")
