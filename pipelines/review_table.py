"""The table of questions as a file: CSV in any spreadsheet's dialect, or an Excel workbook; and every text in it harmless."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.settings import ConfigurationError

COLUMNS = (
    "row", "kind", "source", "left_id", "left_name", "right_source", "right_id", "right_name", "rung", "rule", "score", "evidence",
    "amount_at_stake", "currency", "left_url", "right_url", "answer", "reason",
)  # fmt: skip
PAIR = ("kind", "source", "left_id", "right_source", "right_id")
NEEDED = (*PAIR, "answer", "reason")
FORMULA = ("=", "+", "-", "@")
SHEET = "questions"


class WrongAnswers(ConfigurationError):
    """A file of answers that cannot be taken, or a decision that is not there; one sentence per wrong row."""


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows of COLUMNS to `path`, as xlsx where it ends so, else as CSV."""
    _replace(path, _xlsx(rows) if path.suffix.lower() == ".xlsx" else _csv(rows))


def read_table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The file's rows as (line, column to text), rows without anything left out."""
    read = _xlsx_rows if path.suffix.lower() == ".xlsx" else _csv_rows
    lines = iter(read(path))
    _, header = next(lines, (1, []))
    names = [name.strip().lower() for name in header]
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise WrongAnswers([f"{path}: line 1 has no column {', '.join(lacking)}; keep the header of `crossfoot review export`"])
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise WrongAnswers([f"{path}: line 1 has the column {', '.join(twice)} twice; keep the header of `crossfoot review export`"])
    for line, cells in lines:
        filled = dict(zip(names, map(_plain, cells), strict=False))
        if any(filled.values()):
            yield line, {name: filled.get(name, "") for name in names}


def harmless(text: str) -> str:
    """The text as a spreadsheet will not take it for a formula: one that may be taken so begins with an apostrophe."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    risky = text[:1] in ("\t", "\r", "\n") or plain.lstrip().startswith(FORMULA)
    return f"'{plain}" if risky else plain


def _plain(cell: str) -> str:
    """What `harmless` was given, without the spaces around it."""
    text = cell.strip()
    return text[1:].strip() if text.startswith("'") and text[1:].lstrip().startswith(FORMULA) else text


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode("utf-8-sig")  # with a mark, without which Excel reads accents as something else


def _xlsx(rows: Sequence[Mapping[str, Any]]) -> bytes:
    openpyxl = _openpyxl()
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = SHEET
    sheet.append(COLUMNS)
    for row in rows:
        sheet.append([row[name] for name in COLUMNS])
        for cell, name in zip(sheet[sheet.max_row], COLUMNS, strict=True):
            if isinstance(row[name], str):
                cell.data_type, cell.number_format = "s", "@"  # text, also once it was edited
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = sheet.dimensions
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError:
        raise WrongAnswers(["xlsx files need the package openpyxl, which is not installed; use --csv and a .csv file"]) from None
    return openpyxl


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise WrongAnswers([f"{path} does not exist; `crossfoot review export` writes the table to fill in"]) from None
    except UnicodeDecodeError:
        raise WrongAnswers([f"{path} is not UTF-8 text; save it as CSV UTF-8, or use an .xlsx file"]) from None
    first = text.partition("\n")[0]
    # Spreadsheets write the separator of their user's country.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise WrongAnswers([f"{path}, line {begins}: {error}; export the table again and copy the answers over"]) from None


def _xlsx_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    import zipfile

    openpyxl = _openpyxl()
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except FileNotFoundError:
        raise WrongAnswers([f"{path} does not exist; `crossfoot review export --xlsx` writes the table to fill in"]) from None
    except (zipfile.BadZipFile, KeyError, ValueError, openpyxl.utils.exceptions.InvalidFileException) as error:
        raise WrongAnswers([f"{path} cannot be read as xlsx ({error}); save it as an Excel workbook (.xlsx)"]) from None
    try:
        sheet = book[SHEET] if SHEET in book.sheetnames else book.worksheets[0]
        for line, values in enumerate(sheet.iter_rows(values_only=True), start=1):
            yield line, [_cell_text(value) for value in values]
    finally:
        book.close()


def _cell_text(value: Any) -> str:
    # A spreadsheet keeps an id that somebody typed as a number, and a whole one may come with ".0".
    whole = not isinstance(value, (str, bool)) and hasattr(value, "is_integer") and value.is_integer()
    return "" if value is None else str(int(value)) if whole else str(value)
