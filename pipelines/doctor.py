"""What is missing before a night can run: settings, secrets, scopes, fields. Everything at once, each with its fix."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from datetime import datetime

from pipelines import private
from pipelines.http import ApiError, BudgetSpent, ConnectionLost
from pipelines.landing import OddAnswer, documented
from pipelines.night import Tokens, check_company, connect_crm, open_journal
from pipelines.redaction import redact
from pipelines.settings import ConfigurationError, Settings, missing_mail_password, missing_secrets
from pipelines.transform import PROJECT
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import FieldsMissing
from pipelines.writeback import setup
from pipelines.writeback.companies import OtherCompany
from pipelines.writeback.journal import JournalUnavailable


def examine(settings: Settings, now: Callable[[], datetime]) -> list[str]:
    """One sentence for each thing that is missing. `now` stamps a token that is rotated by signing in."""
    findings = _folders(settings) + missing_secrets(settings, VENDORS) + missing_mail_password(settings)
    if settings.profile == "live" and not settings.get("company", "name"):
        findings.append("[company] name is empty; set it, it is the title of the report")
    without = {sentence.partition(":")[0] for sentence in findings}
    try:
        with open_journal(settings) as journal:
            tokens = Tokens(journal, now)
            for slug in settings.sources:
                if slug not in without:
                    findings += _vendor(settings, slug, tokens)
    except JournalUnavailable as error:
        findings.append(str(error))  # without it no vendor is called: a token that was rotated would be lost
    return findings


def _folders(settings: Settings) -> list[str]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    findings = private.keep_private(settings)
    if not os.access(settings.data_dir, os.W_OK):
        findings.append(f"{settings.data_dir} cannot be written; change its owner or choose another with --data-dir")
    if not (PROJECT / "dbt_project.yml").is_file():
        findings.append(f"{PROJECT} is missing; run crossfoot from its own checkout")
    return findings


def _vendor(settings: Settings, slug: str, tokens: Tokens) -> list[str]:
    """Whether the vendor answers, is of the warehouse's company, lets everything be read that is needed, and (a CRM) has Crossfoot's
    fields as they should be."""
    source = importlib.import_module(f"pipelines.vendors.{slug}.source")
    try:
        with documented(slug):
            api = source.connect(settings, tokens)
            findings = source.check(api, settings)
            if not findings:
                check_company(settings, slug, api)
            if not findings and VENDORS[slug].side == "crm":
                crm = connect_crm(settings, slug)
                findings += setup.sentences(slug, setup.missing(crm))
    except (ApiError, BudgetSpent, ConfigurationError, ConnectionLost, FieldsMissing, OddAnswer, OtherCompany, RuntimeError) as error:
        findings = [str(error)]
    return [redact(sentence) for sentence in findings]
