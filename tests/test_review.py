"""Questions go out as a table and answers come back as decisions: a night, its questions, the answers, the night after."""

from __future__ import annotations

import csv
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import night_fixture
import pytest

from pipelines import night as steps
from pipelines import review
from pipelines.review_table import COLUMNS, WrongAnswers, _plain, harmless

NOW = datetime(2026, 7, 1, 9, 30, tzinfo=UTC)
HOLD = "customer match is not certain"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with night_fixture.house(tmp_path_factory.mktemp("review"), data=night_fixture.first_night(tmp_path_factory), fields=False) as made:
        yield made


@pytest.fixture()
def fresh(house):
    """The house with a journal that holds no decisions."""
    for path in house.data.glob("journal.sqlite*"):
        path.unlink()
    return house


def exported(house, name: str = "questions.csv") -> tuple[Path, list[dict[str, str]]]:
    path = review.export(house.settings, house.folder / name).path
    with path.open(encoding="utf-8-sig", newline="") as file:
        return path, list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def ambiguous(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The two candidates of the customer that two accounts have stored."""
    found = [row for row in rows if row["right_name"] == "Contested Cranes"]
    assert len(found) == 2, found
    return found


def answered(row: dict[str, str], answer: str, reason: str = "asked the owner") -> dict[str, str]:
    return row | {"answer": answer, "reason": reason}


# -- out


def test_every_open_question_is_in_the_table_with_evidence_largest_first(fresh):
    _, rows = exported(fresh)
    assert set(COLUMNS) == set(rows[0])
    asked = {(row["kind"], row["left_id"], row["right_id"]) for row in rows}
    listed = {tuple(row.values()) for row in fresh.rows("SELECT kind, left_id, right_id FROM marts.rpt_match_review")}
    assert listed <= asked and {kind for kind, _, _ in asked} == {"match", "link"}
    unmatched = {row["customer_id"] for row in fresh.rows(
        "SELECT customer_id FROM marts.dim_customers WHERE match_outcome = 'unmatched' AND parent_id IS NULL")}
    assert unmatched and unmatched <= {row["right_id"] for row in rows if row["kind"] == "match"}
    stakes = [float(row["amount_at_stake"]) for row in rows if row["amount_at_stake"]]
    assert stakes == sorted(stakes, reverse=True) and stakes[0] > 0
    assert all(row["evidence"] and not row["answer"] and not row["reason"] for row in rows)
    for row in ambiguous(rows):
        assert (row["amount_at_stake"], row["currency"]) == ("5100.00", "USD")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1", "  =1", "\x00=1"])
def test_text_never_becomes_a_formula(text):
    assert harmless(text).startswith("'")
    assert _plain(harmless(text)) == "".join(c if c.isprintable() else " " for c in text).strip()


def test_a_name_that_is_a_formula_is_only_text_in_the_file(fresh):
    fresh.change("CREATE TABLE kept AS SELECT * FROM marts.rpt_match_review")
    try:
        fresh.change("UPDATE marts.rpt_match_review SET left_name = '=HYPERLINK(\"x\")', left_id = '-5' "
                     "WHERE right_name = 'Contested Cranes'")
        path, rows = exported(fresh, "hostile.csv")
        assert {row["left_name"] for row in ambiguous(rows)} == {"'=HYPERLINK(\"x\")"}
        assert {row["left_id"] for row in ambiguous(rows)} == {"'-5"}
        cells = [cell for row in csv.reader(path.open(encoding="utf-8-sig", newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    finally:
        fresh.change("DELETE FROM marts.rpt_match_review")
        fresh.change("INSERT INTO marts.rpt_match_review SELECT * FROM kept")
        fresh.change("DROP TABLE kept")


# -- in


def test_answers_become_decisions_and_a_second_import_changes_nothing(fresh):
    path, rows = exported(fresh)
    yes, no = ambiguous(rows)
    others = [row for row in rows if row not in (yes, no)]
    write(path, [answered(yes, "Same", " their contract names us "), answered(no, "different"), *others])
    done = review.import_answers(fresh.settings, path, "finance", NOW)
    assert (len(done.decisions), done.unchanged) == (2, 0) and done.unanswered == len(rows) - 2
    first = done.decisions[0]
    assert (first.verdict, first.decided_by, first.reason, first.decided_at) == ("same", "finance", "their contract names us", NOW)
    assert (first.left_id, first.right_id) == (yes["left_id"], yes["right_id"])
    again = review.import_answers(fresh.settings, path, "Somebody Else", NOW)
    assert (again.decisions, again.unchanged) == ((), 2)
    assert [one["decided_by"] for one in review.decisions(fresh.settings)] == ["finance"] * 2
    assert ambiguous_ids(exported(fresh, "later.csv")[1]) == set()  # answered, though the models do not know it yet


def ambiguous_ids(rows: list[dict[str, str]]) -> set[str]:
    return {row["left_id"] for row in rows if row["right_name"] == "Contested Cranes"}


def test_an_excel_of_another_country_may_save_the_file(fresh):
    path, rows = exported(fresh)
    write(path, [answered(ambiguous(rows)[0], "same", "Käthe; weiß es")], delimiter=";")
    assert review.import_answers(fresh.settings, path, "Ann", NOW).decisions[0].reason == "Käthe; weiß es"


WRONG = [
    ({"answer": "maybe"}, "line 3, column answer: 'maybe' is no answer"),
    ({"reason": ""}, "line 3, column reason: it is empty; say in a few words how you know"),
    ({"kind": "guess", "row": ""}, "line 3, column kind: 'guess' is none of match, link"),
    ({"source": "elsewhere", "row": ""}, "line 3, column source: 'elsewhere' is none of hubspot"),
    ({"right_source": "paper", "row": ""}, "line 3, column right_source: 'paper' is none of quickbooks"),
    ({"left_id": "404", "row": ""}, "line 3, column left_id: hubspot has no account '404'"),
    ({"right_id": "9e9", "row": ""}, "line 3, column right_id: quickbooks has no customer '9e9'"),
    ({"right_id": "0058"}, "line 3, column right_id: '0058' was"),
    ({"left_id": ""}, "line 3, column left_id: it is empty"),
    ({"answer": ""}, "line 3, column answer: it is empty beside the reason"),
]


@pytest.mark.parametrize(("cells", "sentence"), WRONG)
def test_a_wrong_row_is_named_and_nothing_of_the_file_is_taken(fresh, cells, sentence):
    path, rows = exported(fresh)
    yes, no = ambiguous(rows)
    write(path, [answered(yes, "same"), answered(no, "different") | cells])
    with pytest.raises(WrongAnswers) as refused:
        review.import_answers(fresh.settings, path, "Ann", NOW)
    assert refused.value.problems[0].startswith(sentence)
    assert "nothing of" in refused.value.problems[-1]
    assert review.decisions(fresh.settings) == []


def test_two_accounts_of_one_crm_cannot_both_be_the_customer(fresh):
    path, rows = exported(fresh)
    yes, no = ambiguous(rows)
    write(path, [answered(yes, "same"), answered(no, "same")])
    with pytest.raises(WrongAnswers, match=f"line 3.*quickbooks customer '{yes['right_id']}' is 'same' with the hubspot account "
                                           f"'{no['left_id']}' here and with '{yes['left_id']}' in line 2"):
        review.import_answers(fresh.settings, path, "Ann", NOW)
    write(path, [answered(yes, "same"), answered(yes, "different")])
    with pytest.raises(WrongAnswers, match="line 3, column answer: 'different' contradicts 'same' in line 2"):
        review.import_answers(fresh.settings, path, "Ann", NOW)


def test_an_answer_against_a_standing_decision_names_it(fresh):
    path, rows = exported(fresh)
    yes, no = ambiguous(rows)
    standing = review.import_answers(fresh.settings, write(path, [answered(yes, "same")]), "Ann", NOW).decisions[0]
    for wrong in (answered(yes, "different"), answered(no, "same")):
        with pytest.raises(WrongAnswers, match=f"crossfoot review revoke {standing.id}"):
            review.import_answers(fresh.settings, write(path, [wrong]), "Bob", NOW)
    assert review.revoke(fresh.settings, standing.id, "Bob", NOW).revoked_at == NOW
    assert [one["revoked_by"] for one in review.decisions(fresh.settings)] == ["Bob"]
    anew = review.import_answers(fresh.settings, write(path, [answered(yes, "same")]), "Ann", NOW).decisions
    assert len(anew) == 1 and anew[0].id != standing.id


FILES = [
    (b"a,b\n1,2\n", "has no column kind, source"),
    (b"\xff\xfe\x00", "is not UTF-8 text"),
    (b"kind,source,left_id,right_source,right_id,answer,reason,answer\n", "has the column answer twice"),
    (b"", "has no column"),
]


@pytest.mark.parametrize(("content", "sentence"), FILES)
def test_a_file_that_is_no_table_is_refused(fresh, content, sentence):
    path = fresh.folder / "strange.csv"
    path.write_bytes(content)
    with pytest.raises(WrongAnswers, match=sentence):
        review.import_answers(fresh.settings, path, "Ann", NOW)
    with pytest.raises(WrongAnswers, match="--by is empty"):
        review.import_answers(fresh.settings, path, "  ", NOW)
    with pytest.raises(WrongAnswers, match="does not exist"):
        review.import_answers(fresh.settings, fresh.folder / "absent.csv", "Ann", NOW)


@pytest.mark.skipif(importlib.util.find_spec("openpyxl") is None, reason="openpyxl is not installed")
def test_a_workbook_does_the_same(fresh):
    import openpyxl

    path = review.export(fresh.settings, fresh.folder / "questions.xlsx").path
    book = openpyxl.load_workbook(path)
    sheet = book.active
    names = [cell.value for cell in sheet[1]]
    assert tuple(names) == COLUMNS
    assert not [cell.coordinate for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
    line = next(row for row in sheet.iter_rows(min_row=2) if row[names.index("right_name")].value == "Contested Cranes")
    line[names.index("answer")].value, line[names.index("reason")].value = "same", "asked"
    line[names.index("left_id")].value = int(line[names.index("left_id")].value)  # typed in by hand, it is a number
    book.save(path)
    assert [one.verdict for one in review.import_answers(fresh.settings, path, "Ann", NOW).decisions] == ["same"]
    path.write_bytes(b"no workbook")
    with pytest.raises(WrongAnswers, match="cannot be read as xlsx"):
        review.import_answers(fresh.settings, path, "Ann", NOW)


# -- the nights around it; these rebuild the models, so they come last


def of_customer(house, customer_id: str) -> dict[str, Any]:
    (found,) = house.rows("SELECT match_outcome, account_id, match_rung, match_evidence FROM marts.dim_customers WHERE customer_id = ?",
                          customer_id)
    return found


def held(house) -> set[str]:
    return {row["account_id"] for row in house.rows("SELECT account_id FROM marts.account_status WHERE hold_reason = ?", HOLD)}


def stored_ids(house, account_id: str) -> str | None:
    """The accounting customer ids that the CRM itself holds for an account."""
    (crm,) = house.crms.values()
    return crm.read("companies", [account_id], ["customer_ids"])[account_id]["customer_ids"]


def ids_changed(plan) -> list[tuple[str, str | None, str | None]]:
    return [(change.record_id, change.before, change.after) for change in plan.changes if change.field == "customer_ids"]


def test_an_answer_matches_the_customer_and_a_revocation_asks_again(house, monkeypatch, capsys):
    for path in house.data.glob("journal.sqlite*"):
        path.unlink()
    house.create_fields()
    here = ("--config", house.folder / "crossfoot.toml", "--data-dir", house.data)
    monkeypatch.setenv("CROSSFOOT_SANDBOX_URL", house.url)
    night = house.built_night()
    path = house.folder / "night.csv"
    out = night_fixture.command_here(monkeypatch, capsys, *here, "--json", "review", "export", "--csv", path)
    assert out.code == 0 and out.json["questions"] > 5, out.err
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    yes, no = ambiguous(rows)
    customer, accounts = yes["right_id"], {yes["left_id"], no["left_id"]}
    assert accounts <= held(house)
    # A customer that no account was found for, and an account that stores another one already.
    stranger = next(row for row in rows if row["kind"] == "match" and not row["left_id"])
    client = house.rows("SELECT account_id FROM marts.account_status INNER JOIN marts.dim_accounts USING (source, account_id) "
                        "WHERE hold_reason IS NULL AND customer_ids IS NOT NULL ORDER BY 1")[0]["account_id"]
    people_stored = stored_ids(house, client)
    assert people_stored

    write(path, [answered(yes, "same", "owner says so"), answered(stranger | {"left_id": client}, "same", "they merged")])
    done = night_fixture.command_here(monkeypatch, capsys, *here, "--json", "review", "import", path, "--by", "Ann")
    assert done.code == 0, done.err
    house.build(night, tests=False)
    assert of_customer(house, customer) == {"match_outcome": "matched", "account_id": yes["left_id"], "match_rung": 1,
                                            "match_evidence": "decided by Ann: owner says so"}
    assert not accounts & held(house)
    assert not house.rows("SELECT 1 FROM marts.rpt_match_review WHERE right_id = ? AND kind = 'match'", customer)

    # What a person stored already is not written again; the other one joins what is there, until it is rolled back.
    both = f"{people_stored}; quickbooks:{stranger['right_id']}"
    told = house.write(night)
    assert ids_changed(told.plan) == [(client, people_stored, both)] and told.applied.rejected == 0
    assert stored_ids(house, client) == both and house.write(night).plan.changes == ()
    steps.roll_back(night, told.applied.run_id)
    assert stored_ids(house, client) == people_stored
    assert house.write(night).applied.status == "complete" and stored_ids(house, client) == both

    ids = [decision["id"] for decision in done.json["imported"]]
    listed = night_fixture.command_here(monkeypatch, capsys, *here, "review", "list")
    assert ids[0] in listed.out and "owner says so" in listed.out
    for decision in ids:
        assert night_fixture.command_here(monkeypatch, capsys, *here, "review", "revoke", decision, "--by", "Bob").code == 0
    again = night_fixture.command_here(monkeypatch, capsys, *here, "review", "revoke", ids[0], "--by", "Bob")
    assert again.code == 2 and "is not in force" in again.err
    house.advance()
    after = house.whole_night(tests=False)
    assert of_customer(house, customer)["match_outcome"] == "ambiguous"
    assert accounts <= held(house)
    assert steps.built(house.settings).complete
    # The CRM still held our id when this night read it, and it answered nothing; now it is gone, and what people stored stays.
    assert house.rows("SELECT wish FROM intermediate.int_account_customer_ids__decided WHERE account_id = ? AND customer_id = ?",
                      client, stranger["right_id"]) == [{"wish": "-"}]
    assert of_customer(house, stranger["right_id"])["match_outcome"] == "unmatched"
    assert ids_changed(after.plan) == [(client, both, people_stored)] and stored_ids(house, client) == people_stored
    assert house.write(after.night).plan.changes == ()
