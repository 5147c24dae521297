"""The commands that read: one account, the report, the published marts, the documentation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.cli.common import (
    alone_on_standard_output,
    alone_with_models,
    built_night,
    chosen,
    end_at_once,
    open_page,
    show_document,
    speak,
)
from pipelines import private
from pipelines.settings import ConfigurationError

# Rows that `crossfoot sql` prints for another program at most, unless it is told.
FILE_ROWS = 100_000


app = typer.Typer()


@app.command()
def explain(account: Annotated[str, typer.Argument(help="The account's id in the CRM, or its exact name.")]) -> None:
    """Show every number of an account down to documents, payments, the matching rule and links."""
    from pipelines import explain as trace

    found = trace.explain(chosen.settings, account)
    show_document(found, show.explanation(found))


@app.command()
def report(
    show_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it as PDF too, with a Chromium of this machine.")] = False,
    xlsx: Annotated[bool, typer.Option("--xlsx", help="Write the month-end workbook too.")] = False,
    file: Annotated[Path | None, typer.Argument(help="The workbook's file. Default: month-end.xlsx beside the page.")] = None,
) -> None:
    """Make the report of the published night again: one HTML page that needs nothing else."""
    from pipelines import publish
    from pipelines.report import build as pages
    from pipelines.report.pdf import find_chromium, print_pdf

    loaded, published = chosen.settings, publish.published_path(chosen.settings)
    if not published.exists():
        raise ConfigurationError([f"{published} is not there: no night was published yet; run `crossfoot run` first"])
    if file and not xlsx:
        raise ConfigurationError([f"{file} is given without --xlsx; only the workbook goes where it is told"])
    if pdf:
        find_chromium(loaded)  # before the page is made: without one there is nothing to wait for
    page = pages.write_page(pages.collect(published, loaded), loaded.data_dir / "reports" / "report.html")
    written = [page] + ([print_pdf(page, page.with_suffix(".pdf"), loaded)] if pdf else [])
    if xlsx:
        from pipelines.report.workbook import write_workbook

        written.append(write_workbook(published, loaded, file or page.with_name("month-end.xlsx")))
    private.share(loaded, *written)
    show_document({"written": written}, f"The report is in {', '.join(map(str, written))}.")
    if show_it:
        open_page(page)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One statement that reads, such as \"FROM account_status LIMIT 5\".")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help=f"Rows to print. Default: {show.MAX_ROWS}, {FILE_ROWS} as CSV or JSON.")] = None,
) -> None:
    """Ask the published marts a question in SQL. `FROM metrics` says what each number means."""
    from pipelines import publish
    from pipelines import query as questions

    if as_csv and chosen.json:
        raise ConfigurationError(["--csv and --json are both given; choose one"])
    limit = limit or (FILE_ROWS if as_csv or chosen.json else show.MAX_ROWS)
    loaded = chosen.settings
    bounds = questions.Bounds(loaded.get("sql", "seconds"), loaded.get("sql", "memory_megabytes"))
    found = questions.ask(publish.published_path(loaded), query, limit, bounds, end_at_once)
    if as_csv:
        speak(utf8=True)
        questions.write_csv(found, sys.stdout)
        print("".join(show.more_rows(found)), file=sys.stderr, end="\n" * bool(found.more))
        return
    show_document(found.document() if chosen.json else None, "" if chosen.json else show.answer(found))


@app.command()
def export(
    parquet: Annotated[Path, typer.Option(help="Folder to write to: one file for each published mart; files there are replaced.")],
) -> None:
    """Write the published marts as files, for those who want files."""
    from pipelines import publish
    from pipelines import query as questions

    loaded = chosen.settings
    written = questions.export_parquet(publish.published_path(loaded), parquet)
    private.share(loaded, *written)
    show_document({"written": written}, f"{len(written)} files are in {parquet}: {', '.join(path.stem for path in written)}.")


@app.command()
def docs(show_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False) -> None:
    """Build the models' documentation: what stands where, what it is made of, what uses it."""
    from pipelines import transform

    loaded = chosen.settings
    with alone_on_standard_output(), alone_with_models(loaded, "docs"):
        night = built_night(loaded, None)
        page = transform.document(loaded, night.as_of, night.known_at)
    show_document({"page": page}, f"The documentation is in {page}.")
    if show_it:
        open_page(page)
