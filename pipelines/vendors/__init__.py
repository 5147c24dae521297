"""Every vendor that Crossfoot speaks to: a folder here, and one line in VENDORS."""

from pipelines.card import Card
from pipelines.vendors import hubspot, quickbooks

VENDORS: dict[str, Card] = {
    "hubspot": hubspot.CARD,
    "quickbooks": quickbooks.CARD,
}
