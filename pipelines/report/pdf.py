"""The report's page printed as PDF by a Chromium of this machine; nothing is downloaded for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from pipelines.settings import ConfigurationError, Settings

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge", "microsoft-edge")
SECONDS = 90
# The page needs no network, and without these Chromium calls hosts of its maker at every start.
_OPTIONS = ("--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-first-run", "--no-pdf-header-footer")


class NotPrinted(Exception):
    """The page could not be printed; the message says why and what to do."""


def print_pdf(page: Path, target: Path, settings: Settings) -> Path:
    """Prints a page of the report to `target`, in one rename. Raises ConfigurationError without a Chromium, NotPrinted."""
    chromium = find_chromium(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="crossfoot-pdf-") as folder:
        fresh = Path(folder) / "report.pdf"
        # A container's root may not open Chromium's sandbox; the page is ours and its policy lets nothing else run.
        as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [chromium, *_OPTIONS, *as_root, f"--user-data-dir={folder}/profile", f"--print-to-pdf={fresh}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotPrinted(f"{chromium} did not print the report ({error}); set [report] chromium to one that does") from error
        if not fresh.is_file():
            said = " ".join(done.stderr.split())[-300:]
            raise NotPrinted(f"{chromium} ended with {done.returncode} and printed nothing ({said}); set [report] chromium to another")
        beside = target.with_suffix(".pdf.new")
        shutil.copyfile(fresh, beside)  # the temporary folder may be on another disk, where there is no rename
        os.replace(beside, target)
    return target


def find_chromium(settings: Settings) -> str:
    """The configured browser, else one on the path. Raises ConfigurationError."""
    named = settings.get("report", "chromium")
    found = shutil.which(named) if named else next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and named:
        raise ConfigurationError([f"[report] chromium is {named!r}, which is no program; write the path of a Chromium or Chrome"])
    if found is None:
        raise ConfigurationError(["no Chromium is on the path, which prints the report as PDF; install one (apt-get install chromium), "
                                  "or write the path of a Chromium or Chrome into [report] chromium"])
    return found
