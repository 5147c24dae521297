"""Questions for people: the open ones as a table to fill in, and the answers back as decisions in the journal.

A customer that may be one of several accounts, a document that may bill one of several deals, a customer that no account was
found for. The table has one row per candidate; `answer` and `reason` are left empty for the person who knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import landing
from pipelines.review_table import COLUMNS, PAIR, WrongAnswers, harmless, read_table, write_table
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.writeback.journal import Decision, Journal

ANSWERS = ("same", "different")

# One row per candidate. A customer without any is asked about once, in the first CRM.
_QUESTIONS = """
WITH asked AS (
    SELECT kind, source, left_id, left_name, right_source, right_id, right_name, rung, rule, score, evidence,
           amount_base, left_url, right_url
    FROM marts.rpt_match_review
    UNION ALL
    SELECT 'match', matched.account_source, NULL, NULL, customers.source, customers.customer_id, customers.name, NULL, NULL, NULL,
           'no account was found; write its id into left_id, if there is one', owed.amount, NULL, customers.url
    FROM marts.dim_customers AS customers
    INNER JOIN intermediate.int_customers__rooted AS rooted
        ON rooted.source = customers.source AND rooted.customer_id = customers.customer_id AND rooted.is_root
    INNER JOIN marts.dim_customer_matches AS matched
        ON matched.source = customers.source AND matched.customer_id = customers.customer_id AND matched.is_first
    LEFT JOIN (SELECT source, customer_id, sum(open_base) AS amount FROM marts.fct_invoices
               WHERE document_type = 'invoice' AND is_counted GROUP BY ALL) AS owed
        ON owed.source = customers.source AND owed.customer_id = customers.customer_id
    WHERE customers.match_outcome = 'unmatched'
        AND (customers.source, customers.customer_id) NOT IN
            (SELECT right_source, right_id FROM marts.rpt_match_review WHERE kind = 'match')
)
SELECT asked.*, max(amount_base) OVER (PARTITION BY kind, asked.source, right_source, right_id) AS stake
FROM asked
LEFT JOIN intermediate.int_match_suggestions__scored AS suggested
    ON kind = 'match' AND asked.rung = 6 AND suggested.account_source = asked.source AND suggested.account_id = left_id
    AND suggested.source = right_source AND suggested.customer_id = right_id
ORDER BY stake DESC NULLS LAST, kind DESC, asked.source, right_source, right_id, asked.score DESC NULLS FIRST, asked.rung, place,
    left_id, asked.rule"""

# Which records an answer may name, by kind: the left and the right one.
_RECORDS = {
    "match": (("account", "SELECT source, account_id FROM marts.dim_accounts WHERE account_id IN (SELECT unnest($ids))"),
              ("customer", "SELECT source, customer_id FROM marts.dim_customers WHERE customer_id IN (SELECT unnest($ids))")),
    "link": (("won deal", "SELECT source, deal_id FROM marts.fct_deals WHERE is_won AND deal_id IN (SELECT unnest($ids))"),
             ("document", "SELECT source, document_id FROM marts.fct_invoices WHERE document_id IN (SELECT unnest($ids))")),
}  # fmt: skip

Pair = tuple[str, str, str, str, str]  # kind, source, left id, right source, right id


@dataclass(frozen=True)
class Exported:
    """The table that was written: its path, rows (candidates) and questions."""

    path: Path
    rows: int
    questions: int


@dataclass(frozen=True)
class Answer:
    """One answered row of a file; `line` is where it stands."""

    line: int
    pair: Pair
    verdict: str
    reason: str

    @property
    def record(self) -> tuple[str, str, str, str]:
        """What can have one counterpart only: a customer, or a document, in one CRM."""
        kind, source, _, right_source, right_id = self.pair
        return (kind, source, right_source, right_id)


@dataclass(frozen=True)
class Imported:
    """What became of a file's answers: the decisions that are new, and how many stood already."""

    decisions: tuple[Decision, ...]
    unchanged: int
    unanswered: int


# -- out


def export(settings: Settings, path: Path) -> Exported:
    """Writes the open questions to `path`, as xlsx where it ends so, else as CSV; largest amount at stake first.

    What a person has answered since the models were built is left out. Raises WrongAnswers where there are no models yet.
    """
    with _journal(settings, reading=True) as journal:
        standing = _standing(journal.decisions())
    answered = {pair for pair in standing} | {_record(pair) for pair, one in standing.items() if one.verdict == "same"}
    with _models(settings) as connection:
        cursor = connection.execute(_QUESTIONS)
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    base = settings.get("company", "base_currency")
    rows = [_exported(row, base) for row in found if not {_pair(row), _record(_pair(row))} & answered]
    write_table(path, rows)
    return Exported(path, len(rows), len({(row["kind"], row["source"], row["right_source"], row["right_id"]) for row in rows}))


def _exported(row: Mapping[str, Any], base_currency: str) -> dict[str, Any]:
    shown = {name: row.get(name) for name in COLUMNS}
    shown |= {"row": "|".join(part or "" for part in _pair(row)), "amount_at_stake": _cents(row["stake"]), "currency": base_currency,
              "score": None if row["score"] is None else round(row["score"], 3), "answer": None, "reason": None}
    return {name: harmless(value) if isinstance(value, str) else value for name, value in shown.items()}


def _cents(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else amount.quantize(Decimal("0.01"))


# -- in


def import_answers(settings: Settings, path: Path, by: str, now: datetime) -> Imported:
    """Takes the answers of a filled-in table as decisions of `by` at `now` (aware). All of them, or none.

    An answer that stands already changes nothing. Raises WrongAnswers with one sentence for each wrong row: a column that is
    missing, an answer that is none, a record that does not exist, answers that contradict each other or a standing decision.
    """
    who = _named(by)
    cells = list(read_table(path))
    problems: list[str] = []
    answers = [answer for line, row in cells if (answer := _answer(line, row, settings, problems)) is not None]
    with _models(settings) as connection:
        problems += _unknown(connection, answers)
    problems += _contradictions(answers)
    with _journal(settings) as journal:
        earlier = journal.decisions()
        standing = _standing(earlier)
        problems += _against(answers, standing)
        if problems:
            raise WrongAnswers([*problems, f"nothing of {path} was taken; put these rows right and import it again"])
        wanted = {answer.pair: answer for answer in answers if answer.pair not in standing}
        made = tuple(_decision(answer, earlier, who, now) for answer in wanted.values())
        journal.add_decisions(made)
    return Imported(made, len({answer.pair for answer in answers}) - len(made), len(cells) - len(answers))


def revoke(settings: Settings, decision_id: str, by: str, now: datetime) -> Decision:
    """Takes a decision back in the name of `by`; it stays in the journal. Raises JournalError when none is in force."""
    who = _named(by)
    with _journal(settings) as journal:
        journal.revoke_decision(decision_id, now, by=who)
        return next(one for one in journal.decisions() if one.id == decision_id)


def decisions(settings: Settings) -> list[dict[str, Any]]:
    """All decisions, oldest first, as dicts with who took them back and when."""
    with _journal(settings, reading=True) as journal:
        takers = journal.revokers()
        return [vars(one) | {"revoked_by": takers.get(one.id)} for one in journal.decisions()]


def _named(by: str) -> str:
    name = " ".join(by.split())
    if not name:
        raise WrongAnswers(["--by is empty; give the name of the person who answers"])
    return name


def _answer(line: int, row: Mapping[str, str], settings: Settings, problems: list[str]) -> Answer | None:
    """The row's answer; None where there is none, or where it is wrong, which is then in `problems`."""
    if not row["answer"]:
        if row["reason"]:
            problems.append(f"line {line}, column answer: it is empty beside the reason {row['reason']!r}; write same or different")
        return None
    wrong = list(_wrong_cells(row, settings))
    problems += [f"line {line}, column {column}: {sentence}" for column, sentence in wrong]
    if wrong:
        return None
    pair = (row["kind"], row["source"], row["left_id"], row["right_source"], row["right_id"])
    return Answer(line, pair, row["answer"].lower(), row["reason"])


def _wrong_cells(row: Mapping[str, str], settings: Settings) -> Iterator[tuple[str, str]]:
    vendors = settings.values["vendors"]
    allowed = {"kind": tuple(_RECORDS), "source": vendors["crms"], "right_source": vendors["ledgers"]}
    for column, values in allowed.items():
        if row[column] not in values:
            yield column, f"{row[column]!r} is none of {', '.join(values)}; write one of these"
    if row["answer"].lower() not in ANSWERS:
        yield "answer", f"{row['answer']!r} is no answer; write same or different, or leave it empty"
    if not row["reason"]:
        yield "reason", "it is empty; say in a few words how you know"
    for column in ("left_id", "right_id"):
        if not row[column]:
            yield column, "it is empty; write the id of the record"
    # A spreadsheet may have made another number of an id (00158, 1.2E+17); `row` still has it as it was.
    told = row.get("row", "").split("|")
    if len(told) == len(PAIR):
        for column, was in zip(PAIR, told, strict=True):
            if was and row[column] and row[column] != was:
                yield column, f"{row[column]!r} was {was!r} when it was exported; put that back, or empty the column row"



def _unknown(connection: Any, answers: Sequence[Answer]) -> list[str]:
    """The answers whose records are not in the models."""
    problems = []
    for kind, sides in _RECORDS.items():
        mine = [answer for answer in answers if answer.pair[0] == kind]
        for (name, query), at, column in zip(sides, (1, 3), ("left_id", "right_id"), strict=True):
            ids = sorted({answer.pair[at + 1] for answer in mine})
            known = set(connection.execute(query, {"ids": ids}).fetchall()) if ids else set()
            problems += [
                f"line {answer.line}, column {column}: {answer.pair[at]} has no {name} {answer.pair[at + 1]!r}; "
                "export the questions again and take its id from there"
                for answer in mine if (answer.pair[at], answer.pair[at + 1]) not in known
            ]  # fmt: skip
    return problems


def _contradictions(answers: Sequence[Answer]) -> list[str]:
    """Rows of one file that cannot both be true."""
    problems, verdicts, same = [], {}, {}
    for answer in answers:
        first = verdicts.setdefault(answer.pair, answer)
        if first.verdict != answer.verdict:
            problems.append(f"line {answer.line}, column answer: {answer.verdict!r} contradicts {first.verdict!r} in line "
                            f"{first.line} about {_said(answer.pair)}; leave one of them")
        if answer.verdict == "same":
            other = same.setdefault(answer.record, answer)
            if other.pair != answer.pair:
                problems.append(f"line {answer.line}, column answer: {_one_only(answer, other.pair)} in line {other.line}; "
                                "leave one of them")
    return problems


def _against(answers: Sequence[Answer], standing: Mapping[Pair, Decision]) -> list[str]:
    """Answers that contradict a decision which stands."""
    taken = {_record(pair): one for pair, one in standing.items() if one.verdict == "same"}
    problems = []
    for answer in answers:
        old, other = standing.get(answer.pair), taken.get(answer.record)
        if old is not None and old.verdict != answer.verdict:
            problems.append(f"line {answer.line}, column answer: {old.decided_by} decided {old.verdict!r} about "
                            f"{_said(answer.pair)} ({old.id}); `crossfoot review revoke {old.id}` first, if that was wrong")
        elif answer.verdict == "same" and other is not None and old is None:
            problems.append(f"line {answer.line}, column answer: {_one_only(answer, _pair_of(other))} by a decision of "
                            f"{other.decided_by}; `crossfoot review revoke {other.id}` first, if that was wrong")
    return problems


def _one_only(answer: Answer, other: Pair) -> str:
    left, right = ("account", "customer") if answer.pair[0] == "match" else ("deal", "document")
    _, source, left_id, right_source, right_id = answer.pair
    return (f"{right_source} {right} {right_id!r} is 'same' with the {source} {left} {left_id!r} here and with "
            f"{other[2]!r}")


def _said(pair: Pair) -> str:
    _, source, left_id, right_source, right_id = pair
    return f"{source} {left_id!r} and {right_source} {right_id!r}"


def _standing(found: Iterable[Decision]) -> dict[Pair, Decision]:
    return {_pair_of(one): one for one in found if one.revoked_at is None}


def _pair_of(one: Decision) -> Pair:
    return (one.kind, one.source, one.left_id, one.right_source, one.right_id)


def _pair(row: Mapping[str, Any]) -> Pair:
    return (row["kind"], row["source"], row["left_id"], row["right_source"], row["right_id"])


def _record(pair: Pair) -> tuple[str, str, str, str]:
    return (pair[0], pair[1], pair[3], pair[4])


def _decision(answer: Answer, earlier: Sequence[Decision], by: str, now: datetime) -> Decision:
    """The answer as a decision. Its id follows from what was answered, and how often that was taken back before."""
    from pipelines.writeback.journal import Decision

    before = sum(_pair_of(one) == answer.pair for one in earlier)
    digest = hashlib.sha256(json.dumps([*answer.pair, before]).encode()).hexdigest()
    return Decision(digest[:12], *answer.pair, answer.verdict, by, answer.reason, now)


@contextmanager
def _models(settings: Settings) -> Iterator[Any]:
    """The warehouse, where its models are built."""
    from pipelines import night

    built = night.built(settings)
    if built is None or not built.complete:
        raise WrongAnswers([f"{settings.warehouse} holds no complete models; run `crossfoot run`, or `crossfoot build`, first"])
    with landing.connect(settings.warehouse) as connection:
        yield connection


@contextmanager
def _journal(settings: Settings, *, reading: bool = False) -> Iterator[Journal]:
    from pipelines import night

    with night.open_journal(settings, reading=reading) as journal:
        yield journal
