"""Person accounts over HTTP: how the sandbox's org keeps them, what is read of them, and that their status is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from extract_fixture import FAST, collect, empty_world, job_for, settings_at
from sandbox_fixture import running_sandbox

from pipelines.card import Call
from pipelines.http import ApiError
from pipelines.landing import Job
from pipelines.vendors.crm_types import RecordUpdate
from pipelines.vendors.salesforce import source
from pipelines.vendors.salesforce.crm import SalesforceCrm
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.vendors.salesforce.source_query import DATA
from pipelines.vendors.salesforce.source_rows import KINDS

KIND = {kind.name: kind for kind in KINDS}


class Persons(Sandbox):
    person_accounts = True


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    world = empty_world()
    world.add_account("Acme Ltd", domain="acme.example")
    # An administrator makes and changes people.
    card = replace(source.CARD, allowed=(*source.CARD.allowed, Call("POST", ".*"), Call("PATCH", ".*")))
    with running_sandbox(world, vendors={"salesforce": Persons}, rate_limits=False) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "CARD", card)
        yield job_for(source, settings_at(url, tmp_path_factory.mktemp("persons"), f'[vendors]\ncrms = ["salesforce"]\n{FAST}'))


@pytest.fixture(scope="module")
def ada(job: Job) -> str:
    body = {"FirstName": "Ada", "LastName": "Lovelace", "PersonEmail": "ada@home.example"}
    return str(job.api.post(f"{DATA}/sobjects/Account", json=body).json["id"])


def test_a_person_is_read_as_an_account_with_its_own_address(job: Job, ada: str) -> None:
    accounts = {row["id"]: row for row in collect(source.records(job, KIND["Account"]))["accounts"]}
    assert (accounts[ada]["name"], accounts[ada]["person_email"]) == ("Ada Lovelace", "ada@home.example")
    (business,) = (row for row in accounts.values() if row["id"] != ada)
    assert (business["name"], business["person_email"]) == ("Acme Ltd", None)
    contacts = collect(source.records(job, KIND["Contact"]))["contacts"]
    assert [(row["email"], row["last_name"]) for row in contacts if row["account_id"] == ada] == [("ada@home.example", "Lovelace")]


def test_the_contact_follows_its_person(job: Job, ada: str) -> None:
    job.api.patch(f"{DATA}/sobjects/Account/{ada}", json={"PersonEmail": "ada@work.example"})
    person = job.api.get(f"{DATA}/sobjects/Account/{ada}").json
    assert job.api.get(f"{DATA}/sobjects/Contact/{person['PersonContactId']}").json["Email"] == "ada@work.example"


def test_the_name_of_a_person_is_not_written(job: Job, ada: str) -> None:
    with pytest.raises(ApiError, match="Unable to create/update fields: Name"):
        job.api.patch(f"{DATA}/sobjects/Account/{ada}", json={"Name": "Other"})
    job.api.patch(f"{DATA}/sobjects/Account/{ada}", json={"LastName": "King"})
    assert job.api.get(f"{DATA}/sobjects/Account/{ada}").json["Name"] == "Ada King"


def test_the_status_of_a_person_is_written_like_that_of_a_business(job: Job, ada: str) -> None:
    crm = SalesforceCrm(job.api)
    crm.create_fields("accounts", [one.field for one in crm.missing_fields("accounts")])
    (outcome,) = crm.update("accounts", [RecordUpdate(ada, {"financial_status": "Current"})])
    assert outcome.status == "written"
    assert crm.read("accounts", [ada], ["financial_status"]) == {ada: {"financial_status": "Current"}}
