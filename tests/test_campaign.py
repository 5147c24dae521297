"""`make campaign`: other companies and more nights than `make test` has time for. Every night has to equal the answer key."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from night_fixture import house

from pipelines import night as steps
from pipelines.sandbox.world import make_world

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]
NIGHTS = 5


def differences(crossfoot, answers):
    """What of the answer key's accounts and deals the marts say otherwise."""
    accounts = {row["account_id"]: row for row in crossfoot.rows("SELECT * FROM marts.account_status")}
    deals = {row["deal_id"]: row for row in crossfoot.rows("SELECT * FROM marts.fct_deal_reconciliation")}
    assert accounts.keys() == answers["accounts"].keys()
    assert deals.keys() == answers["deals"].keys()
    wrong = []
    for key, answer in answers["accounts"].items():
        for name in ("financial_status", "days_overdue", "overdue_invoices", "credit_status", "last_invoice_status"):
            if accounts[key][name] != answer[name]:
                wrong.append((key, name, accounts[key][name], answer[name]))
        for name in ("total_outstanding", "overdue_amount", "unapplied_credit", "invoiced_to_date", "collected_to_date"):
            # The marts keep every digit of an amount in another currency; the key has what is shown.
            if accounts[key][name].quantize(Decimal("0.01"), ROUND_HALF_UP) != Decimal(answer[name]):
                wrong.append((key, name, accounts[key][name], answer[name]))
    wrong += [(key, deals[key]["status"], deals[key]["main_cause"], answer) for key, answer in answers["deals"].items()
              if (deals[key]["status"], deals[key]["main_cause"]) != (answer["status"], answer["cause"])]
    return wrong


@pytest.mark.parametrize(("seed", "accounts"), [(1, 60), (2, 200), (3, 500), (4, 1000), (5, 120), (6, 90)])
def test_any_company_is_right_on_every_night(seed, accounts, tmp_path):
    with house(tmp_path, world=make_world(seed, accounts)) as crossfoot:
        seen = []
        for _ in range(NIGHTS):
            told = crossfoot.whole_night()
            assert differences(crossfoot, crossfoot.answers()) == []
            assert told.applied is not None and told.applied.problems == ()
            seen.append((told.night, crossfoot.exports()))
            crossfoot.advance()
        for night, exports in seen[:-1]:
            steps.build(night)
            assert crossfoot.exports() == exports
