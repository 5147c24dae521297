"""The one reader of crossfoot.toml, of the secrets and of the environment.

Everything else receives a frozen `Settings`. Unknown keys and wrong values are collected and named together, each with
its line and its remedy, so that a person mends a configuration in one go.
"""

from __future__ import annotations

import os
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from pipelines import settings_rules as rules
from pipelines.card import Card, Setting
from pipelines.credentials import hide_password_of, mail_password, vendor_secrets
from pipelines.network import Network, find_network
from pipelines.settings_general import GENERAL, MAIL_PASSWORD_VARIABLE
from pipelines.settings_kinds import checked
from pipelines.settings_rules import place

CONFIG_NAME = "crossfoot.toml"
SANDBOX_URL_VARIABLE = "CROSSFOOT_SANDBOX_URL"
# Where an installation lives, for commands that are started in another folder.
HOME_VARIABLE, CONFIG_VARIABLE, DATA_VARIABLE = "CROSSFOOT_HOME", "CROSSFOOT_CONFIG", "CROSSFOOT_DATA_DIR"
SANDBOX_PORT = 8765
# The sandbox's day begins at this hour, UTC: the day's business is over, so what a day changed is older than any call on it.
SANDBOX_HOUR = 22
# Besides letters and digits: each was tried through dlt, dbt and DuckDB.
_PATH_CHARACTERS = " /.-_+,@()&~"


class ConfigurationError(Exception):
    """Wrong use or configuration (exit code 2). `problems` holds one sentence for each, with its remedy."""

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Settings:
    """Everything that a run needs to know, checked. `values[section][key]` holds what the file or the defaults say."""

    profile: str  # sandbox | live
    path: Path | None
    data_dir: Path
    values: Mapping[str, Mapping[str, Any]]
    sandbox_url: str
    secrets: Mapping[str, Mapping[str, str]] = field(repr=False, default_factory=dict)
    mail_password: str = field(repr=False, default="")
    network: Network = Network()

    def get(self, section: str, key: str) -> Any:
        """A setting's value; a name that does not exist is a mistake in the code and raises KeyError."""
        return self.values[section][key]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.get("company", "time_zone"))

    @property
    def base_currency(self) -> str:
        return self.get("company", "base_currency")

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(slug for key in ("crms", "ledgers", "rates") for slug in self.get("vendors", key))

    @property
    def warehouse(self) -> Path:
        return self.data_dir / "warehouse.duckdb"

    @property
    def journal(self) -> str | Path:
        """The URL of a database, which may hold a password, or a file."""
        return self.get("journal", "url") or self.data_dir / "journal.sqlite"


def declared(cards: Mapping[str, Card]) -> list[Setting]:
    """Every setting there is: the general ones and those of the vendors. One CRM and one ledger, the first, are the default."""
    first = {side: next((slug,) for slug, card in cards.items() if card.side == side) for side in ("crm", "ledger")}
    defaults = {"crms": first["crm"], "ledgers": first["ledger"], "rates": ()}
    general = [replace(one, default=defaults[one.key]) if one.section == "vendors" else one for one in GENERAL]
    return general + [one for card in cards.values() for one in (*card.settings, *([_budget(card)] if card.is_called else []))]


def _budget(card: Card) -> Setting:
    return Setting(card.slug, "max_calls_per_night", "integer", card.calls_a_night,
                   "Calls that reading may use in one night; what is left then follows next night. 0: no limit.")


def load(cards: Mapping[str, Card], *, config: Path | None = None, data_dir: Path | None = None, home: Path | None = None,
         environment: Mapping[str, str] | None = None) -> Settings:
    """Reads the configuration file (or stands on the sandbox's defaults without one).

    `config` None means the one that CROSSFOOT_CONFIG names, else crossfoot.toml in `home` (None: CROSSFOOT_HOME, else the
    current folder), where it is there; a named file has to exist. `data_dir` None means the one that CROSSFOOT_DATA_DIR names, else
    `data` beside the configuration file, else in `home`. Raises ConfigurationError with every problem at once. Secrets are
    not required here: `missing_secrets` names what a step will need.
    """
    environment = os.environ if environment is None else environment
    home = _home(home, environment)
    path = _config_path(config or _named(environment, CONFIG_VARIABLE), home)
    text = _read(path) if path else ""
    document = _parse(text, path)
    settings = declared(cards)
    profile = "live" if path else "sandbox"
    profile = str(document.pop("profile", profile))
    problems = _unknown_keys(document, settings, text, path)
    if profile not in ("sandbox", "live"):
        problems.append(f"{place(path, text, '', 'profile')}: profile is {profile!r}; write \"sandbox\" or \"live\"")
    values = _values(document, settings, text, path, problems)
    rules.check_vendors(values, cards, problems, text, path)
    rules.check_thresholds(values, problems, text, path)
    rules.check_mail(values, problems, text, path)
    rules.check_report(values, problems, text, path)
    hide_password_of(values["journal"]["url"])
    outside = find_network(values["network"], environment, path.parent if path else Path(), problems)
    sandbox_url = environment.get(SANDBOX_URL_VARIABLE) or f"http://127.0.0.1:{SANDBOX_PORT}"
    if not sandbox_url.startswith(("http://", "https://")):
        problems.append(f"{SANDBOX_URL_VARIABLE} is {sandbox_url!r}; write a URL such as http://127.0.0.1:{SANDBOX_PORT}")
    folder = (data_dir or _named(environment, DATA_VARIABLE) or (path.parent if path else home) / "data").resolve()
    problems += _unusable_characters(folder)
    if problems:
        raise ConfigurationError(problems)
    return Settings(
        profile=profile,
        path=path,
        data_dir=folder,
        values=MappingProxyType({name: MappingProxyType(section) for name, section in values.items()}),
        sandbox_url=sandbox_url.rstrip("/"),
        secrets={slug: vendor_secrets(card, profile, environment) for slug, card in cards.items()},
        mail_password=mail_password(environment),
        network=outside,
    )


def _unusable_characters(folder: Path) -> list[str]:
    """A sentence where the data folder's path holds what DuckDB, dlt or dbt would take for something else: an end of a text, a
    pattern of names, a part of a URL, a partition (name=value)."""
    strange = dict.fromkeys(one for one in str(folder) if unicodedata.category(one)[0] not in "LMN" and one not in _PATH_CHARACTERS)
    if not strange:
        return []
    return [f"the data folder {str(folder)!r} has {', '.join(map(repr, strange))} in its path, which a path of the warehouse cannot hold; "
            f"name another with --data-dir (letters, digits, blanks and {_PATH_CHARACTERS.strip()} are fine)"]


def missing_secrets(settings: Settings, cards: Mapping[str, Card]) -> list[str]:
    """One sentence for each secret that a configured vendor needs and that nobody provides."""
    return [
        f"{slug}: {secret.name} is missing; set {secret.variable} in the environment, or "
        f"[sources.{slug}] {secret.name} in .dlt/secrets.toml ({secret.help})"
        for slug in settings.sources
        for secret in cards[slug].secrets
        if not settings.secrets.get(slug, {}).get(secret.name)
        and (secret.only_for is None or settings.get(slug, secret.only_for[0]) == secret.only_for[1])
    ]


def example(cards: Mapping[str, Card]) -> str:
    """The text of crossfoot.example.toml: every setting with its help and default."""
    lines = ["# Copy to crossfoot.toml and change what differs. Secrets never stand here: see `crossfoot doctor`.", "",
             '# "live" talks to the vendors; "sandbox" to `crossfoot sandbox`.', 'profile = "live"']
    section = None
    for setting in declared(cards):
        if setting.kind == "table":
            continue
        if setting.section != section:
            section = setting.section
            lines += ["", f"[{section}]"]
        lines += [f"# {setting.help}", f"{setting.key} = {_toml(setting.default)}"]
    for setting in GENERAL:
        if setting.kind == "table":
            example_value = "ours" if setting.key == "field_policies" else "keep"
            lines += ["", f"# {setting.help}", f"[{setting.section}.{setting.key}]", f'# financial_status = "{example_value}"']
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, (int, Decimal)):
        return str(value)
    return '"' + str(value) + '"'


def _named(environment: Mapping[str, str], variable: str) -> Path | None:
    return Path(environment[variable]) if environment.get(variable) else None


def _home(home: Path | None, environment: Mapping[str, str]) -> Path:
    found = home or _named(environment, HOME_VARIABLE) or Path()
    if not found.is_dir():
        raise ConfigurationError([f"{found}: no such folder; name the one that holds crossfoot.toml with --home or {HOME_VARIABLE}"])
    return found


def _config_path(config: Path | None, home: Path) -> Path | None:
    if config is None:
        return (home / CONFIG_NAME).resolve() if (home / CONFIG_NAME).is_file() else None
    if not config.is_file():
        raise ConfigurationError([f"{config}: no such file; copy crossfoot.example.toml there or leave --config out (and {CONFIG_VARIABLE} "
                                  "unset)"])
    return config.resolve()


def _read(path: Path) -> str:
    """The file's text; editors of some systems put a byte order mark before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8"]) from error
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read ({error.strerror}); give the right to whoever runs this"]) from error


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from error


def _unknown_keys(document: Mapping[str, Any], settings: Sequence[Setting], text: str, path: Path | None) -> list[str]:
    known: dict[str, set[str]] = {}
    for setting in settings:
        known.setdefault(setting.section, set()).add(setting.key)
    problems = []
    for section, content in document.items():
        if section not in known:
            where = place(path, text, section, "") if isinstance(content, dict) else place(path, text, "", section)
            problems.append(f"{where}: [{section}] is not known; the sections are {', '.join(sorted(known))}")
        elif not isinstance(content, dict):
            problems.append(f"{place(path, text, '', section)}: {section} has to be a section: write [{section}]")
        else:
            problems += [
                f"{place(path, text, section, key)}: [{section}] {key} is not known; "
                f"the keys are {', '.join(sorted(known[section]))}"
                for key in content
                if key not in known[section]
            ]
    return problems


def _values(document: Mapping[str, Any], settings: Sequence[Setting], text: str, path: Path | None,
            problems: list[str]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for setting in settings:
        content = document.get(setting.section)
        given = content.get(setting.key, setting.default) if isinstance(content, dict) else setting.default
        try:
            values.setdefault(setting.section, {})[setting.key] = checked(setting.kind, given)
        except ValueError as error:
            where = place(path, text, setting.section, setting.key)
            problems.append(f"{where}: [{setting.section}] {setting.key} is {given!r}; {error}")
            values.setdefault(setting.section, {})[setting.key] = setting.default
    return values


def missing_mail_password(settings: Settings) -> list[str]:
    """A sentence where a user is to sign in to the mail server without a password; the night does not need it."""
    if not settings.get("mail", "to") or not settings.get("mail", "user") or settings.mail_password:
        return []
    return [f"[mail] user is {settings.get('mail', 'user')!r} and the password is missing; set {MAIL_PASSWORD_VARIABLE} in the environment"]
