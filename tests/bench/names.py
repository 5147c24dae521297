"""20,000 customers under other names against 20,000 accounts: how long the suggestions take, and how often the right one is first."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import names_fixture as names  # noqa: E402

BAR_SECONDS, BAR_SHARE = 30, 0.95
home, count = Path(sys.argv[1]), int(sys.argv[2])
home.mkdir(parents=True, exist_ok=True)
accounts, planted = names.plant(count, count, seed=7)
names.warehouse(home / "w.duckdb", accounts, planted, [])
seconds = names.build(home / "w.duckdb", home)
first = {customer: account for customer, account, _ in names.first_suggestions(home / "w.duckdb")}
right = sum(first.get(one.customer_id) == one.account_id for one in planted)
print(f"{count} customers against {count} accounts: {sum(seconds.values()):.1f} s for the models of matching, of which suggestions "
      f"{seconds['int_match_suggestions__scored']:.1f} s (bar: {BAR_SECONDS} s); the right account first for {right / count:.1%} "
      f"(bar: {BAR_SHARE:.0%})")
