"""What all tests share: quiet packages, and Chromium where a page has to be looked at."""

import os
import shutil

import pytest

from pipelines import environment

environment.settle()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, or fails where CROSSFOOT_REQUIRE_CHROMIUM is set."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None and os.environ.get("CROSSFOOT_REQUIRE_CHROMIUM"):
        pytest.fail("no Chromium on this machine, and CROSSFOOT_REQUIRE_CHROMIUM is set")
    if path is None:
        pytest.skip("no Chromium on this machine")
    return path
