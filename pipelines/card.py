"""A vendor's card: what there is to know about it before a single call is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One key of the configuration: where it stands, what it accepts, its default and a sentence for the example file."""

    section: str
    key: str
    kind: str  # a key of `_CHECKS` in pipelines/settings_kinds.py, or choice:<a|b>
    default: Any
    help: str


@dataclass(frozen=True)
class Secret:
    """A value that never stands in the configuration: an environment variable, or the same name in dlt's providers.

    `only_for` (key, value): needed only where that setting of the vendor has that value. `is_public`: it only names an app or
    a company, and may be shown.
    """

    name: str
    variable: str
    help: str
    sandbox: str
    only_for: tuple[str, str] | None = None
    is_public: bool = False


@dataclass(frozen=True)
class Call:
    """A call other than GET that may be made: its method, and its path below the vendor's address as a whole, a pattern."""

    method: str
    path: str

    def covers(self, method: str, path: str) -> bool:
        return method == self.method and re.fullmatch(self.path, path, re.ASCII) is not None


@dataclass(frozen=True)
class Limit:
    """At most `calls` in any `seconds`, for calls whose path holds `match` and does not hold `unless` (empty: all)."""

    name: str
    calls: int
    seconds: int
    match: str = ""
    unless: str = ""

    def covers(self, path: str) -> bool:
        return self.match in path and not (self.unless and self.unless in path)


@dataclass(frozen=True)
class Card:
    """Slug, side (crm, ledger, billing, rates), addresses, secrets, settings, page sizes and published limits of one vendor.

    `account`: what the vendor calls a customer's account (portal, organisation); then `identity(api, settings)` in source.py gives
    {id: name} of those that the configuration reaches. `calls_a_night` is the default of its setting max_calls_per_night: what
    reading may use; 0 sets no limit. `allowed` are the calls other than GET that Crossfoot may make there, to read or to write;
    every other one is refused before it leaves.
    """

    slug: str
    name: str
    side: str
    documentation: str
    base_url: str
    secrets: tuple[Secret, ...]
    settings: tuple[Setting, ...] = ()
    page_sizes: Mapping[str, int] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    objects: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    calls_a_night: int = 0
    account: str = ""
    allowed: tuple[Call, ...] = ()

    @property
    def is_called(self) -> bool:
        """Whether there is anybody to call: what is read from a file has no address."""
        return bool(self.base_url)
