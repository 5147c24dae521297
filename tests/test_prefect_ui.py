"""Seen with a real local Prefect server: the run, its artifacts and its schedule appear in the UI; the report opens."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
SHOTS = ROOT / "build" / "screenshots"
CLI = [sys.executable, "-m", "flows.cli"]
# Without these Chromium looks up hosts of its maker at every start.
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync"]
WAIT_SECONDS = 90

pytestmark = [pytest.mark.chromium, pytest.mark.timeout(300)]


@contextlib.contextmanager
def process(command, env, **options):
    """A process in a group of its own that is ended, by its id, at the end."""
    with subprocess.Popen(command, env=env, cwd=ROOT, text=True, start_new_session=True, **options) as started:
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGTERM)
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def until(question, what):
    """Asks until the answer is true; every wait has an end."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if found := question():
                return found
        time.sleep(0.5)
    raise AssertionError(f"{what} within {WAIT_SECONDS} s")


@pytest.fixture(scope="module")
def night(tmp_path_factory, chromium):
    """A Prefect server with one finished night and the schedule; yields (server URL, data folder, environment)."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = f"http://127.0.0.1:{port}"
    env = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_API_URL": f"{server}/api", "PREFECT_UI_API_URL": f"{server}/api"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with contextlib.ExitStack() as running:
        running.enter_context(process(command, env, **quiet))
        sandbox = running.enter_context(process([*CLI, "sandbox", "--port", "0"], env, stdout=subprocess.PIPE))
        env["CROSSFOOT_SANDBOX_URL"] = json.loads(sandbox.stdout.readline())["url"]
        until(lambda: call(f"{server}/api/health"), "the Prefect server answers")
        (home / "crossfoot.toml").write_text('profile = "sandbox"\n[writeback]\nmax_change_share = 1\n', encoding="utf-8")
        data = ["--config", str(home / "crossfoot.toml"), "--data-dir", str(home / "data")]
        subprocess.run([*CLI, *data, "setup-crm", "--yes"], env=env, cwd=ROOT, check=True, capture_output=True)
        run = subprocess.run([*CLI, *data, "--json", "run", "--apply"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=180)
        assert run.returncode == 0, run.stderr
        said = running.enter_context((home / "schedule.log").open("w+", encoding="utf-8"))
        scheduled = running.enter_context(process([*CLI, *data, "schedule"], env, stdout=said, stderr=subprocess.STDOUT))
        until(lambda: call(f"{server}/api/deployments/filter", {}), "the schedule is deployed")
        until(lambda: call(f"{server}/api/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}),
              "the next nights are scheduled")
        yield server, home / "data", env
        scheduled.send_signal(signal.SIGTERM)
        assert scheduled.wait(WAIT_SECONDS) == 0
        said.seek(0)
        shown = said.read()
        assert shown.startswith("The night is run at '0 2 * * *' in UTC") and "Traceback" not in shown and "Warning" not in shown
        (deployment,) = call(f"{server}/api/deployments/filter", {"deployments": {"name": {"any_": ["nightly"]}}})
        assert deployment["paused"]


@pytest.fixture(scope="module")
def browser(night, chromium):
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield started
        started.close()


def shown(browser, address: str, texts: list[str], name: str) -> Page:
    """Opens a page, waits for the texts, and keeps a screenshot as build output."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(address)
    try:
        for text in texts:
            page.get_by_text(text).first.wait_for(timeout=15_000)
    finally:
        page.screenshot(path=SHOTS / f"{name}.png")
    return page


def test_the_run_appears(night, browser):
    shown(browser, f"{night[0]}/runs", ["crossfoot-nightly", "Completed"], "prefect-runs").close()


def test_the_schedule_appears_with_the_configured_time(night, browser):
    shown(browser, f"{night[0]}/deployments", ["nightly", "Ready"], "prefect-deployments").close()
    (deployment,) = call(f"{night[0]}/api/deployments/filter", {"deployments": {"name": {"any_": ["nightly"]}}})
    (schedule,) = deployment["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"], schedule["active"]) == ("0 2 * * *", "UTC", True)
    assert deployment["global_concurrency_limit"]["limit"] == 1


def test_operations_08_prefect_yaml_deploys_the_night_at_the_configured_time(night, tmp_path):
    server, data, env = night
    config = tmp_path / "crossfoot.toml"
    config.write_text('profile = "sandbox"\n[company]\ntime_zone = "Europe/Berlin"\n[schedule]\ncron = "30 3 * * *"\n')
    printed = subprocess.run([*CLI, "--config", str(config), "--data-dir", str(data), "--json", "schedule", "--print"], env=env,
                             cwd=ROOT, capture_output=True, text=True, check=True)
    env = {**env, **json.loads(printed.stdout)}
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    subprocess.run([*prefect, "work-pool", "create", "crossfoot", "--type", "process"], env=env, cwd=ROOT, check=True, capture_output=True)
    subprocess.run([*prefect, "deploy", "--name", "nightly-worker"], env=env, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (deployment,) = call(f"{server}/api/deployments/filter", {"work_pools": {"name": {"any_": ["crossfoot"]}}})
    (schedule,) = deployment["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("30 3 * * *", "Europe/Berlin")
    assert deployment["name"] == "nightly-worker"  # `crossfoot schedule`, stopped, pauses its own deployment and not this one
    assert deployment["parameters"] == {"config": str(config), "data_dir": str(data)}
    assert deployment["global_concurrency_limit"]["limit"] == 1


def test_the_artifacts_appear(night, browser):
    artifacts = {one["key"]: one for one in call(f"{night[0]}/api/artifacts/latest/filter", {})}
    summary, table = artifacts["crossfoot-night"], artifacts["crossfoot-exceptions"]
    shown(browser, f"{night[0]}/artifacts/artifact/{summary['latest_id']}", ["Credit Hold", "not invoiced"], "prefect-summary").close()
    shown(browser, f"{night[0]}/artifacts/artifact/{table['latest_id']}", ["severity"], "prefect-exceptions").close()
    assert "sandbox-hubspot-token" not in json.dumps(artifacts)


def test_the_report_opens_from_the_disk_and_calls_nobody(night, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    address = (night[1] / "reports" / "report.html").as_uri()
    page.goto(address)
    page.get_by_text("Credit Hold").first.wait_for(timeout=10_000)
    page.screenshot(path=SHOTS / "report.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 800})
    page.screenshot(path=SHOTS / "report-phone.png")
    assert requests == [address]
    assert errors == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()
