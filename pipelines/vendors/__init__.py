"""Every vendor that Crossfoot speaks to: a folder here, and one line in VENDORS."""

from pipelines.card import Card
from pipelines.vendors import ecb, hubspot, quickbooks, salesforce, xero

VENDORS: dict[str, Card] = {
    "hubspot": hubspot.CARD,
    "salesforce": salesforce.CARD,
    "quickbooks": quickbooks.CARD,
    "xero": xero.CARD,
    "ecb": ecb.CARD,
}
