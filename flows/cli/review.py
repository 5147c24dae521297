"""The commands about questions that only a person can answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.cli.common import chosen, show_document
from pipelines.settings import ConfigurationError

review = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Questions for people: export them, import the answers.")
By = Annotated[str, typer.Option("--by", help="Who answers; kept with every decision.")]


@review.command("export")
def review_export(
    as_csv: Annotated[Path | None, typer.Option("--csv", help="File to write. Default: review.csv in the data folder.")] = None,
    as_xlsx: Annotated[Path | None, typer.Option("--xlsx", help="File to write, as an Excel workbook.")] = None,
) -> None:
    """Write the open questions, with candidates, evidence and amount at stake, as a table to fill in."""
    from pipelines import review as questions

    loaded = chosen.settings
    if as_csv and as_xlsx:
        raise ConfigurationError(["--csv and --xlsx are both given; choose one"])
    if as_xlsx and as_xlsx.suffix.lower() != ".xlsx":
        raise ConfigurationError([f"--xlsx is {str(as_xlsx)!r}; give the file a name that ends in .xlsx"])
    if as_csv and as_csv.suffix.lower() == ".xlsx":
        raise ConfigurationError([f"--csv is {str(as_csv)!r}; use --xlsx for a workbook"])
    done = questions.export(loaded, as_xlsx or as_csv or loaded.data_dir / "review.csv")
    show_document({"path": done.path, "questions": done.questions, "rows": done.rows}, show.exported(done))


@review.command("import")
def review_import(file: Annotated[Path, typer.Argument(help="The table, with answers in it: .csv or .xlsx.")], by: By) -> None:
    """Take the answers of a filled-in table as decisions; a wrong row is named, and then nothing of the file is taken."""
    from flows.when import now
    from pipelines import review as questions

    done = questions.import_answers(chosen.settings, file, by, now())
    document = {"imported": [vars(one) for one in done.decisions], "unchanged": done.unchanged, "unanswered": done.unanswered}
    show_document(document, show.imported(done))


@review.command("list")
def review_list() -> None:
    """Show every decision: who, when, why, and who took it back."""
    from pipelines import review as questions

    found = questions.decisions(chosen.settings)
    show_document({"decisions": found}, show.decisions(found))


@review.command("revoke")
def review_revoke(decision: Annotated[str, typer.Argument(help="The id, as `crossfoot review list` shows it.")], by: By) -> None:
    """Take a decision back; from the next build on its question is open again."""
    from flows.when import now
    from pipelines import review as questions

    taken = questions.revoke(chosen.settings, decision, by, now())
    show_document({"revoked": vars(taken)}, f"Decision {taken.id} is taken back; the next night asks again.")
