"""The database behind the journal: SQLite in a private file, or PostgreSQL. Whatever trouble it has, the user gets a sentence."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from pipelines.settings import ConfigurationError
from pipelines.writeback.journal.records import JournalUnavailable
from pipelines.writeback.journal.tables import metadata
from pipelines.writeback.journal_file import HOLDS, reading_uri, trouble
from pipelines.writeback.lease import MILLISECONDS

ADVICE = "write it like postgresql://user@host:5432/name, or leave it empty for a file in the data folder"
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# Parameters of libpq, where the URL does not set them: a server that vanished is noticed within half a minute.
POSTGRESQL = {"connect_timeout": "10", "tcp_user_timeout": "30000", "application_name": "crossfoot"}
# Words in what PostgreSQL says when it lets nobody in (such answers come without a code), and what is to be done then.
REFUSALS = {
    "password": "give the right one in [journal] url, in the variable PGPASSWORD or in a .pgpass file",
    "does not exist": "create it, or correct [journal] url",
    "too many": "end what does not need its connection, or raise max_connections of the server",
    "connection slots": "end what does not need its connection, or raise max_connections of the server",
    "permission denied": "grant the user of [journal] url the right to create and to change tables there",
}
BUSY_MILLISECONDS = 10_000  # how long SQLite waits for another process
_preparing = threading.Lock()


class milliseconds(sa.sql.functions.FunctionElement[int]):  # noqa: N801 - it reads as the SQL function that it is
    """The database's own time, in milliseconds since 1970."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(milliseconds)
def _milliseconds(_element: milliseconds, compiler: Any, **_options: Any) -> str:
    return MILLISECONDS[compiler.dialect.name]


def open_engine(place: str | Path, *, reading: bool = False) -> sa.Engine:
    """The database behind a URL, or in a file, with every table and column of the journal.

    For `reading` nothing is made or changed, neither in the database nor beside its file, but for the columns that a journal of
    an earlier version lacks; where there is no journal yet, the engine is of an empty one. Raises ConfigurationError for a URL
    that names no such database; JournalUnavailable is raised here and by all that the engine does later.
    """
    address = _address(place)
    path = _file(address)
    if path is None:
        engine = _engine(address)
    elif not reading:
        _make_private(path)
        engine = _engine(address, path)
        sa.event.listen(engine, "connect", _write_safely)
    elif path.exists():
        uri, _, query = reading_uri(path).partition("?")
        parameters = dict(part.split("=") for part in query.split("&"))
        engine = _engine(sa.URL.create("sqlite", database=uri, query={**parameters, "uri": "true"}), path)
    else:
        return _empty()
    if not reading:
        _prepare(engine)
    elif not sa.inspect(engine).has_table("runs"):
        return _empty()
    elif _lacking(engine):
        return open_engine(place)
    return engine


def _address(place: str | Path) -> sa.URL:
    """The URL with the driver that Crossfoot brings. It may hold a password, so no message repeats it."""
    if isinstance(place, Path):
        return sa.URL.create("sqlite", database=str(place))
    try:
        address = sa.make_url(place)
    except (sa.exc.ArgumentError, ValueError):
        raise ConfigurationError([f"[journal] url is no address of a database; {ADVICE}"]) from None
    driver = DRIVERS.get(address.drivername.partition("+")[0])
    if driver is None:
        raise ConfigurationError([f"[journal] url begins with {address.drivername!r}, which the journal cannot be in; {ADVICE}"])
    if "@" in (address.host or ""):
        raise ConfigurationError(["[journal] url has an @ in its password; write it as %40"])
    if driver == "sqlite" and (not address.database or address.database == ":memory:" or "?" in place):
        raise ConfigurationError([f"[journal] url names no file, or one with a question mark in its name; {ADVICE}"])
    return address.set(drivername=driver)


def _file(address: sa.URL) -> Path | None:
    return Path(str(address.database)) if address.get_backend_name() == "sqlite" else None


def _make_private(path: Path) -> None:
    """The file is its owner's alone before anything is in it, and where it came from elsewhere: it holds tokens."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise JournalUnavailable(trouble(path, error)) from None


def _engine(address: sa.URL, path: Path | None = None) -> sa.Engine:
    """An engine that shows no parameters and turns each trouble into JournalUnavailable."""
    options: dict[str, Any] = {}
    if address.get_backend_name() == "postgresql":
        # The lock is for READ COMMITTED, whatever the server's default is; statements that a server prepares are lost behind
        # a pooler.
        given = {name: value for name, value in POSTGRESQL.items() if name not in address.query} | {"prepare_threshold": None}
        options = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED", "connect_args": given}
    try:
        engine = sa.create_engine(address, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise ConfigurationError([f"[journal] url names a {address.get_backend_name()} database, whose driver {error.name} is not "
                                  "installed; `pip install 'crossfoot[postgres]'` brings it"]) from None

    @sa.event.listens_for(engine, "handle_error")
    def tell(context: Any) -> None:
        # A key that is taken is an answer that the journal waits for, and a connection that was cut while it was idle is made
        # again; all else is trouble.
        if not context.is_pre_ping and not isinstance(context.sqlalchemy_exception, sa.exc.IntegrityError):
            error = context.original_exception
            raise JournalUnavailable(trouble(path, error) if path else _server_trouble(address, error)) from None

    return engine


def _server_trouble(address: sa.URL, error: BaseException) -> str:
    """What a server said, as a sentence with its remedy and without the password."""
    query = {name: value for name, value in address.query.items() if "password" not in name}
    where = address.set(drivername=address.get_backend_name(), query=query).render_as_string(hide_password=True)
    said = " ".join(str(error).split())
    remedy = next((remedy for words, remedy in REFUSALS.items() if words in said),
                  "see that the server runs and that [journal] url names it, and run again")
    return f"the journal in {where} cannot be used ({said}); {HOLDS}, so nothing is written without it: {remedy}"


def _empty() -> sa.Engine:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    return engine


def _prepare(engine: sa.Engine) -> None:
    """Makes what is missing. Two processes that begin side by side may both find nothing there."""
    with _preparing:
        try:
            _complete(engine)
        except (JournalUnavailable, sa.exc.IntegrityError):
            # Another process was faster; what is still missing, or another trouble, shows now.
            _complete(engine)


def _complete(engine: sa.Engine) -> None:
    metadata.create_all(engine)
    table_name = engine.dialect.identifier_preparer.format_table
    for column in _lacking(engine):
        definition = sa.schema.CreateColumn(column).compile(dialect=engine.dialect)
        with engine.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table_name(column.table)} ADD COLUMN {definition}"))


def _lacking(engine: sa.Engine) -> list[sa.Column[Any]]:
    """Columns of which a journal of an earlier version knows nothing: each may be empty."""
    inspector = sa.inspect(engine)
    known = {(name, column["name"]) for (_, name), columns in inspector.get_multi_columns().items() for column in columns}
    return [column for table in metadata.sorted_tables for column in table.columns if (table.name, column.name) not in known]


def _write_safely(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
