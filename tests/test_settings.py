"""The configuration: every mistake named at once with its line and remedy; secrets from outside and never shown."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.settings import ConfigurationError
from pipelines.vendors import VENDORS

ROOT = Path(__file__).parents[1]
SECRETS = {
    "HUBSPOT_ACCESS_TOKEN": "pat-na1-very-secret",
    "QUICKBOOKS_CLIENT_ID": "the-client",
    "QUICKBOOKS_CLIENT_SECRET": "client-secret",
    "QUICKBOOKS_REFRESH_TOKEN": "RT1-refresh",
    "QUICKBOOKS_REALM_ID": "9130",
}


def load(folder: Path, text: str, environment: dict[str, str] | None = None) -> settings.Settings:
    path = folder / "crossfoot.toml"
    path.write_text(text, encoding="utf-8")
    return settings.load(VENDORS, config=path, data_dir=folder / "data", environment=environment or {})


def problems_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    return list(caught.value.problems)


def test_every_mistake_is_named_at_once_with_file_line_and_remedy(tmp_path):
    problems = problems_of(
        tmp_path,
        "\n".join(
            [
                'profile = "staging"',
                "[company]",
                'base_currency = "dollars"',
                'time_zone = "Mars/Olympus"',
                "[network]",
                "timeout = 3",
                "attempts = 0",
                "timeout_seconds = 0",
                "[writeback]",
                'mode = "aply"',
                "max_change_share = 2",
                'overdue_tasks = "yes"',
                "[writback]",
                'mode = "apply"',
                "[vendors]",
                'crms = ["hubspt"]',
                "[schedule]",
                'cron = "nightly"',
                "[matching]",
                'free_mail_domains = "gmx.net"',
            ]
        ),
    )
    expected = {
        1: 'write "sandbox" or "live"',
        3: 'ISO 4217 code such as "EUR"',
        4: 'IANA time zone such as "Europe/Berlin"',
        6: "[network] timeout is not known; the keys are answer_megabytes, attempts, ca_file, call_seconds",
        7: "[network] attempts is 0; write a whole number from 1 up",
        8: "[network] timeout_seconds is 0; write a whole number from 1 up",
        10: "[writeback] mode is 'aply'; write one of off, plan, apply",
        11: "write a share from 0 to 1",
        12: "write true or false",
        13: "[writback] is not known; the sections are company, ecb, guard, hubspot",
        16: "[vendors] crms names 'hubspt'; the known ones are hubspot",
        18: 'five cron fields such as "0 2 * * *"',
        20: "write a list of texts in quotes",
    }
    for line, words in expected.items():
        where = f"{tmp_path / 'crossfoot.toml'}, line {line}: "
        assert [p for p in problems if p.startswith(where) and words in p], (line, words, problems)
    assert len(problems) == len(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[status]\ncredit_hold_days = 20\ncredit_hold_release_days = 25",
            "line 3: [status] credit_hold_release_days is 25, above",
        ),
        (
            '[writeback.field_policies]\nfinancial_status = "mine"',
            "line 2: [writeback.field_policies] financial_status is 'mine'",
        ),
        ('[writeback.null_policies]\ncredit_status = "drop"', "write one of clear, keep"),
        ("network = 3", "line 1: network has to be a section: write [network]"),
        ('[company]\ntime_zone = "America"', "line 2: [company] time_zone is 'America'"),
        ("[hubspot.extra]\nx = 1", "line 1: [hubspot] extra is not known"),
        ("\n[nobody.extra]\nx = 1", "line 2: [nobody] is not known"),
        ("[network]\nretry_base_seconds = nan", "line 2: [network] retry_base_seconds is"),
        ("[network]\nattempts = true", "line 2: [network] attempts is True"),
        ("[company\n", "not valid TOML"),
    ],
)
def test_one_mistake_is_named(tmp_path, text, words):
    (problem,) = problems_of(tmp_path, text)
    assert words in problem


def test_a_file_that_is_not_utf_8_is_named_and_a_byte_order_mark_is_read_over(tmp_path):
    path = tmp_path / "crossfoot.toml"
    path.write_bytes('[company]\nname = "Müller"\n'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 19; save the file as UTF-8"):
        settings.load(VENDORS, config=path, environment={})
    path.write_bytes('\ufeff[company]\nname = "Müller"\n'.encode())
    assert settings.load(VENDORS, config=path, environment={}).get("company", "name") == "Müller"


def test_a_named_file_has_to_exist(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file; copy crossfoot.example.toml there"):
        settings.load(VENDORS, config=tmp_path / "none.toml", environment={})


def test_without_a_file_it_is_the_sandbox_with_its_own_secrets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = settings.load(VENDORS, environment=SECRETS)
    assert (found.profile, found.path, found.sources) == ("sandbox", None, ("hubspot", "quickbooks"))
    assert found.sandbox_url == "http://127.0.0.1:8765"
    assert found.secrets["hubspot"]["access_token"] == "sandbox-hubspot-token", "a real token never goes to a sandbox"
    assert settings.missing_secrets(found, VENDORS) == []
    assert found.warehouse == tmp_path / "data" / "warehouse.duckdb"
    assert found.journal == tmp_path / "data" / "journal.sqlite"
    assert found.get("writeback", "max_change_share") == Decimal("0.25"), "the limits of the live profile"


def test_the_sandbox_may_stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        settings.load(VENDORS, environment={"CROSSFOOT_SANDBOX_URL": "http://10.0.0.7:99/"}).sandbox_url
        == "http://10.0.0.7:99"
    )
    assert settings.load(VENDORS, environment={"CROSSFOOT_SANDBOX_URL": ""}).sandbox_url == "http://127.0.0.1:8765"
    with pytest.raises(ConfigurationError, match="CROSSFOOT_SANDBOX_URL is '10.0.0.7:99'; write a URL such as"):
        settings.load(VENDORS, environment={"CROSSFOOT_SANDBOX_URL": "10.0.0.7:99"})


def test_a_file_without_profile_means_live(tmp_path):
    found = load(tmp_path, "[company]\nname = 'Brightwater'", SECRETS)
    assert (found.profile, found.get("writeback", "max_change_share")) == ("live", Decimal("0.25"))
    assert load(tmp_path, 'profile = "sandbox"\n[writeback]\nmax_change_share = 0.5').get(
        "writeback", "max_change_share"
    ) == Decimal("0.5")


def test_numbers_keep_the_text_of_the_file(tmp_path):
    assert str(load(tmp_path, "[status]\ntolerance = 0.10").get("status", "tolerance")) == "0.10"


def test_secrets_come_from_the_environment_without_the_line_end_of_a_pasted_value(tmp_path):
    found = load(tmp_path, 'profile = "live"', {**SECRETS, "HUBSPOT_ACCESS_TOKEN": "pat-na1-very-secret\n"})
    assert found.secrets["hubspot"]["access_token"] == "pat-na1-very-secret"
    assert found.secrets["quickbooks"] == {
        "client_id": "the-client",
        "client_secret": "client-secret",
        "refresh_token": "RT1-refresh",
        "realm_id": "9130",
    }
    assert settings.missing_secrets(found, VENDORS) == []


def test_dlts_spelling_of_a_secret_is_read_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = load(tmp_path, 'profile = "live"', {"SOURCES__HUBSPOT__ACCESS_TOKEN": "from-dlt"})
    assert found.secrets["hubspot"]["access_token"] == "from-dlt"


def test_all_missing_secrets_are_named_with_their_variables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = settings.missing_secrets(load(tmp_path, 'profile = "live"'), VENDORS)
    assert len(missing) == len(SECRETS)
    for variable in SECRETS:
        assert any(f"set {variable} in the environment" in sentence for sentence in missing), variable


def test_secrets_of_a_vendor_that_is_not_used_are_not_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = load(tmp_path, 'profile = "live"\n[vendors]\nledgers = ["xero"]')
    assert [s for s in settings.missing_secrets(found, VENDORS) if s.startswith("quickbooks")] == []


@pytest.mark.parametrize(("key", "known"), [("crms", "hubspot, salesforce"), ("ledgers", "quickbooks, xero")])
def test_writeback_01_an_empty_side_is_refused_when_the_file_is_read(tmp_path, key, known):
    (problem,) = problems_of(tmp_path, f"[vendors]\n{key} = []")
    assert problem == f"{tmp_path / 'crossfoot.toml'}, line 2: [vendors] {key} is empty; name at least one of {known}"
    assert load(tmp_path, "[vendors]\nrates = []").get("vendors", "rates") == (), "rates may be missing"


def test_settings_never_show_secrets(tmp_path):
    shown = repr(load(tmp_path, 'profile = "live"', SECRETS))
    assert not [value for value in ("pat-na1-very-secret", "client-secret", "RT1-refresh") if value in shown]


def test_the_example_holds_every_setting_with_its_default_and_loads(tmp_path):
    text = settings.example(VENDORS)
    document = tomllib.loads(text)
    for setting in [*settings.GENERAL, *(s for card in VENDORS.values() for s in card.settings)]:
        assert setting.help in text, setting.key
        if setting.kind != "table":
            assert setting.key in document[setting.section], f"[{setting.section}] {setting.key}"
    found = load(tmp_path, text, SECRETS)
    untouched = load(tmp_path, "[company]\n", SECRETS)
    assert found.values == untouched.values


def test_the_committed_example_is_the_one_that_the_code_writes():
    assert (ROOT / "crossfoot.example.toml").read_text(encoding="utf-8") == settings.example(VENDORS)
