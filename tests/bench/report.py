"""The report of marts that are published already: `report.py HOME PATH` prints seconds and megabytes."""

import sys
import time
from pathlib import Path

import models

from pipelines import publish

start = time.monotonic()
from pipelines.report import build  # noqa: E402 - its libraries are part of what the report takes

settings = models.configured(Path(sys.argv[1]))
path = build.write_page(build.collect(publish.published_path(settings), settings), Path(sys.argv[2]))
print(f"{time.monotonic() - start:.1f} {path.stat().st_size / 1024**2:.2f}")
