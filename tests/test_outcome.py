"""What a night says at its end: one sentence for each way in which it can end, and the same as a document."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime

import pytest

from pipelines.extract import Receipt
from pipelines.outcome import Outcome, held_back, sentence, stopped
from pipelines.transform import Node, TransformFailed
from pipelines.writeback.apply import ApplyResult, ApplyStopped
from pipelines.writeback.journal import Intent, Settled
from pipelines.writeback.plan import Change, Hold, Plan

AS_OF, KNOWN_AT = date(2026, 6, 30), datetime(2026, 6, 30, 22, tzinfo=UTC)


def change(record_id: str) -> Change:
    return Change("hubspot", "companies", record_id, "days_overdue", None, "1")


def problem(outcome: str) -> Settled:
    return Settled(Intent(1, "run", "hubspot", "companies", "1", "days_overdue", None, "1"), outcome, "because")


FINE = (Receipt("hubspot", "complete"), Receipt("quickbooks", "complete"))
DARK = (Receipt("hubspot", "complete"), Receipt("quickbooks", "failed", message="no answer"))
SHORT = (Receipt("hubspot", "complete"), Receipt("xero", "partial", message="its calls are used up"))
PLAN = Plan((change("1"), change("2")))
LIMITED = dataclasses.replace(PLAN, limit_blocks=("too many would change",))
GUARDED = dataclasses.replace(PLAN, guard_blocks=("companies shrank",))


@pytest.mark.parametrize("receipts, blocks, plan, applied, mode, state, says", [
    (FINE, (), PLAN, ApplyResult("r", PLAN, written=2), "apply", "complete", "2 changes were written."),
    (FINE, (), PLAN, None, "plan", "complete",
     f"The plan has 2 changes; look at it, then `crossfoot apply {PLAN.id}`."),
    (FINE, (), LIMITED, None, "plan", "complete",
     f"then `crossfoot apply {LIMITED.id}`. No night writes it without that: too many would change."),
    (FINE, (), GUARDED, None, "plan", "complete", "The plan has 2 changes and cannot be applied yet: companies shrank."),
    (FINE, (), Plan(), None, "plan", "complete", "There is nothing to write."),
    (FINE, (), LIMITED, None, "apply", "blocked",
     f"Nothing was written: too many would change; `crossfoot apply {LIMITED.id}` approves it."),
    (FINE, ("companies shrank",), GUARDED, None, "plan", "blocked",
     "Nothing was written or published: companies shrank; then run the night again."),
    (FINE, ("companies shrank",), GUARDED, None, "apply", "blocked",
     "Nothing was written or published: companies shrank; then run the night again."),
    (FINE, (), GUARDED, None, "apply", "blocked", "Nothing was written: companies shrank; then run the night again."),
    (FINE, (), None, None, "off", "complete", "Write-back is off."),
    (FINE, ("companies shrank",), None, None, "off", "blocked",
     "Nothing was written or published: companies shrank; then run the night again."),
    (FINE, (), PLAN, ApplyResult("r", PLAN, 1, 1, 0, (problem("skipped"),)), "apply", "partial",
     "1 changes were skipped and 0 rejected; `crossfoot status` names them"),
    (DARK, (), PLAN, ApplyResult("r", PLAN, written=2), "apply", "partial",
     "quickbooks could not be read (no answer): what depends on it is left as it was"),
    (DARK, ("companies shrank",), GUARDED, None, "plan", "partial",
     "as it was, and nothing was written or published: companies shrank; mend that and run the night again."),
    (DARK, (), LIMITED, None, "apply", "partial",
     "as it was, and nothing was written: too many would change; mend that and run the night again."),
    (DARK, (), PLAN, ApplyResult("r", PLAN, 0, 0, 1, (problem("rejected"),)), "apply", "partial",
     "as it was; besides, 0 changes were skipped and 1 rejected (`crossfoot status` names them); mend that and run the night again."),
    (SHORT, (), PLAN, ApplyResult("r", PLAN, written=2), "apply", "partial",
     "xero was read in part (its calls are used up): what depends on it is left as it was; the next night reads on."),
    (DARK, (), LIMITED, None, "plan", "partial", "mend that and run the night again."),
    (DARK, (), None, None, "off", "partial", "quickbooks could not be read (no answer)"),
    ((Receipt("hubspot", "replayed"), Receipt("quickbooks", "complete")), (), PLAN, ApplyResult("r", PLAN), "apply", "complete",
     "0 changes were written."),
])  # fmt: skip
def test_every_state_has_its_sentence(receipts, blocks, plan, applied, mode, state, says):
    found, text = sentence(receipts, blocks, plan, applied, mode)
    assert found == state and says in text
    assert text.endswith(".") and "\n" not in text


@pytest.mark.parametrize("receipts, plan, applied, says", [
    (FINE, None, None, "The marts and the report are published, and nothing was written to the CRM: hubspot answered 500; the next night "
     "tries again."),
    (FINE, PLAN, None, "The marts and the report are published, and the write-back stopped in its midst: hubspot answered 500; the next"),
    (FINE, PLAN, ApplyResult("r", PLAN, written=2), "2 changes were written, but the page does not show that yet: hubspot answered 500; "),
    (DARK, None, None, "as it was; besides, nothing was written to the CRM: hubspot answered 500; mend that and run the night again."),
])  # fmt: skip
def test_a_write_back_that_ended_early_is_partial_and_says_what_was_not_done(receipts, plan, applied, says):
    state, text = sentence(receipts, (), plan, applied, "apply", "hubspot answered 500.")
    assert state == "partial" and says in text and text.endswith(".") and ".;" not in text


def test_a_doubtful_night_stays_blocked_whatever_the_crm_does():
    assert sentence(FINE, ("companies shrank",), None, None, "apply", "hubspot answered 500") == (
        "blocked", "Nothing was written or published: companies shrank; then run the night again.")


def test_a_night_that_stopped_says_what_was_not_done_and_what_to_do():
    assert stopped(TransformFailed([Node("fct_deals", "model", "error", "column is missing")])) == (
        "The night stopped and published nothing: fct_deals: column is missing; mend that and run the night again.")
    assert stopped(ApplyStopped("hubspot companies: no certain answer after 3 tries (lost); run again later.")) == (
        "The night stopped and published nothing: hubspot companies: no certain answer after 3 tries (lost); run again later; mend "
        "that and run the night again.")


def test_reasons_are_counted_the_most_frequent_first_and_the_rest_together():
    holds = [Hold("hubspot", "companies", str(number), None, None, None, "stale") for number in range(3)]
    holds += [Hold("hubspot", "companies", "9", None, None, None, f"reason {number:02}") for number in range(20)]
    counts = held_back(Plan(holds=tuple(holds)))
    assert next(iter(counts.items())) == ("stale", 3) and counts["for other reasons"] == 9 and sum(counts.values()) == 23


def test_an_outcome_is_plain_json_values():
    ended = Outcome(AS_OF, KNOWN_AT, "apply", "partial", "x", DARK, PLAN, None, ApplyResult("r", PLAN, 1, 0, 1, (problem("rejected"),)))
    document = ended.document()
    assert document["applied"]["problems"] == [
        {"object": "companies", "record": "1", "field": "days_overdue", "outcome": "rejected", "message": "because"}]
    assert document["plan"]["records"] == 2 and document["vendors"]["quickbooks"]["message"] == "no answer"
