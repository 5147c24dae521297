"""The journal's tables. Money and values are text, timestamps are UTC text."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

metadata = sa.MetaData()
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # nightly | apply | rollback | plan
    sa.Column("as_of", sa.String(10), nullable=False),
    sa.Column("known_at", sa.String(32), nullable=False),
    sa.Column("plan_id", sa.String(16)),
    sa.Column("approved_plan_id", sa.String(16)),
    sa.Column("rollback_of", sa.String(64)),
    sa.Column("resumed_by", sa.String(64), index=True),  # the run that went on where this one was interrupted
    sa.Column("status", sa.String(16), nullable=False),  # started | complete | partial | failed | blocked | interrupted
    sa.Column("settled", sa.Boolean, nullable=False),  # every intent has its outcome
    sa.Column("started_at", sa.String(32), nullable=False),
    sa.Column("finished_at", sa.String(32)),
    sa.Column("message", sa.Text, nullable=False),
)
plans = sa.Table(
    "plans",
    metadata,
    sa.Column("plan_id", sa.String(16), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),  # zlib of the plan's JSON
    sa.Column("recorded_at", sa.String(32), nullable=False),
)
intents = sa.Table(
    "intents",
    metadata,
    sa.Column("intent_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id"), nullable=False, index=True),
    sa.Column("system", sa.String(32), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("record_id", sa.String(128), nullable=False),
    sa.Column("field", sa.String(64), nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("recorded_at", sa.String(32), nullable=False),
    sa.Index("intents_by_field", "system", "object", "record_id", "field"),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("intent_id", sa.BigInteger, sa.ForeignKey("intents.intent_id"), primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(16), nullable=False),  # written | skipped | rejected
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.String(32), nullable=False),
)
tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("system", sa.String(32), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("account_id", sa.String(128), nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("episode", sa.String(10), nullable=False),
    sa.Column("task_id", sa.String(128)),
    sa.Column("state", sa.String(16), nullable=False),  # intended | open | closed | ended | withdrawn
    sa.Column("recorded_at", sa.String(32), nullable=False),
)
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # match | link
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("left_id", sa.String(128), nullable=False),
    sa.Column("right_source", sa.String(32), nullable=False),
    sa.Column("right_id", sa.String(128), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),  # same | different
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_at", sa.String(32), nullable=False),
    sa.Column("revoked_at", sa.String(32)),
)
revocations = sa.Table(  # beside the decisions, so that a journal made before this table was needs no change
    "revocations",
    metadata,
    sa.Column("id", sa.String(64), sa.ForeignKey("decisions.id"), primary_key=True),
    sa.Column("revoked_by", sa.Text, nullable=False),
    sa.Column("revoked_at", sa.String(32), nullable=False),
)
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("vendor", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(128), primary_key=True),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
lock = sa.Table(
    "lock",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("process", sa.String(64), nullable=False),
    sa.Column("since", sa.String(32), nullable=False),
)


def as_text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def as_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
