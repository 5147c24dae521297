"""The euro foreign exchange reference rates of the European Central Bank, from a file.

Facts: https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates/html/index.en.html
"""

from pipelines.card import Card, Setting

CARD = Card(
    slug="ecb",
    name="ECB reference rates",
    side="rates",
    documentation="https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates/html/index.en.html",
    base_url="",
    secrets=(),
    settings=(
        Setting("ecb", "file", "text", "",
                "Path of eurofxref-hist.csv, from the folder of this file. It is read as it is; nothing is downloaded: renew it daily."),
    ),
    objects=("reference_rates",),
)
