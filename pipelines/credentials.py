"""Where the secrets are found, and that none of them is ever shown: whatever is found is registered with the redaction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.card import Card
from pipelines.redaction import hide
from pipelines.settings_general import MAIL_PASSWORD_VARIABLE


def vendor_secrets(card: Card, profile: str, environment: Mapping[str, str]) -> dict[str, str]:
    """{name: value} of a vendor's secrets, empty texts for those that nobody provides."""
    found = {secret.name: secret.sandbox if profile == "sandbox" else _found(card.slug, secret.name, secret.variable, environment)
             for secret in card.secrets}
    for secret in card.secrets:
        if not secret.is_public:
            hide(found[secret.name])
    return found


def mail_password(environment: Mapping[str, str]) -> str:
    """The password of the mail server's user; empty without one."""
    password = environment.get(MAIL_PASSWORD_VARIABLE, "").strip()
    hide(password)
    return password


def hide_password_of(url: str) -> None:
    """Registers the password that stands in a URL, as it stands there and as it is meant."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:  # no URL: whoever needs one says so
        return
    hide(password)
    hide(unquote(password))


def _found(slug: str, name: str, variable: str, environment: Mapping[str, str]) -> str:
    # Stripped: the line end of a pasted value would be refused as a header, in an error that shows the value.
    return environment.get(variable, "").strip() or _from_dlt(slug, name, environment).strip()


def _from_dlt(slug: str, name: str, environment: Mapping[str, str]) -> str:
    """dlt's own providers (environment in its spelling, .dlt/secrets.toml, vaults); asked only when there is a chance."""
    variable = f"SOURCES__{slug.upper()}__{name.upper()}"
    if variable in environment:
        return environment[variable]
    if not Path(".dlt").is_dir():
        return ""
    import dlt  # late: it takes two seconds, and `status` has one

    return dlt.secrets.get(f"sources.{slug}.{name}") or ""
