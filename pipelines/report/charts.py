"""The report's charts: described with Altair, drawn as SVG that stands in the page and takes the page's own colours.

Each is drawn twice, for a page and for a phone; the style sheet shows one of them. What a chart says is in the table beside it.
A bar's length is a float, because that is what is drawn with; every number that is written comes from the Decimal.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import altair as alt
import vl_convert

from pipelines.report.figures import Bridge, Report
from pipelines.report.formats import Format, one_line, words
from pipelines.report.tables import bridges_shown, owner_name, span

# Across the page, beside a table, and on a phone; points of the page.
FULL, HALF, PHONE = 1000, 480, 340
MAX_OWNERS, MAX_LABEL = 12, 24
# What is drawn with, and the style sheet's variable that takes its place. The hues are Okabe and Ito's, which people tell
# apart however they see colours; a sign or a word always says the same as the colour.
INK, SOFT, LINE, BLUE, ORANGE, GREEN, RED, PALE = (f"#a1b2c{number}" for number in range(8))
_VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", BLUE: "blue", ORANGE: "orange", GREEN: "green", RED: "red", PALE: "pale"}
_VERSION = max(vl_convert.get_vegalite_versions(), key=lambda version: [int(part) for part in version.split(".")])
_CONFIG = {
    "background": "transparent", "font": "Liberation Sans", "padding": 2, "view": {"stroke": None},
    "axis": {"labelColor": SOFT, "labelFontSize": 11, "labelLimit": 170, "gridColor": LINE, "domainColor": LINE, "ticks": False,
             "labelPadding": 6, "labelExpr": "datum.value === 0 ? '0' : datum.label", "title": None},
    "legend": {"labelColor": INK, "labelFontSize": 12, "columnPadding": 14, "orient": "top", "title": None, "symbolType": "square",
               "offset": 8},
    "text": {"color": INK, "fontSize": 11},
}  # fmt: skip
# Attributes that are nobody's business: the chart is one image to a screen reader, named by its title.
_NEEDLESS = re.compile(r'\s(?:role|class|aria-[a-z]+|pointer-events|xmlns:xlink|version|opacity|stroke-miterlimit|font-family)="[^"]*"')
_EMPTY = re.compile(r'<path(?: d="[^"]*"| display="none")*/>|<g>\s*</g>')


@dataclass(frozen=True)
class Chart:
    """`title` is what a screen reader says; `wide` and `narrow` are SVG elements."""

    title: str
    wide: str
    narrow: str


def charts(report: Report, form: Format) -> dict[str, Chart]:
    """Every chart by the id of its table; one that has nothing to show is left out."""
    makers = {"months": cycle, "ahead": ahead, "funnel": funnel, "ageing": ageing, "paid": days_to_pay, "cash": cash, "owners": owners}
    found = {name: maker(report, form) for name, maker in makers.items()}
    for place, one in enumerate(bridges_shown(report), 1):
        found[f"bridge-{place}"] = waterfall(report, one, form)
    return {name: chart for name, chart in found.items() if chart is not None}


def cycle(report: Report, form: Format) -> Chart | None:
    series = (("Bookings", "bookings", BLUE), ("Invoiced", "invoiced", ORANGE), ("Collected, net of tax", "collected_net", GREEN))
    rows = [{"month": form.short_month(one.month), "what": label, "amount": float(getattr(one, name))}
            for one in report.months for label, name, _ in series]
    made = alt.Chart(_data(rows)).mark_bar().encode(
        x=alt.X("month:O", sort=None), xOffset=alt.XOffset("what:N", sort=None), y=alt.Y("amount:Q", axis=alt.Axis(format="~s")),
        color=_colours(series),
    )  # fmt: skip
    return _drawn("Bookings, invoiced and collected by month", made, rows, form, 260, FULL)


def ahead(report: Report, form: Format) -> Chart | None:
    series = (("At full amount", "pipeline", PALE), ("Weighted", "weighted", BLUE))
    rows = [{"month": form.short_month(one.month), "what": label, "amount": float(getattr(one, name) or 0)}
            for one in report.ahead if one.month for label, name, _ in series]
    made = alt.Chart(_data(rows)).mark_bar().encode(
        x=alt.X("month:O", sort=None), y=alt.Y("amount:Q", stack=None, axis=alt.Axis(format="~s")), color=_colours(series))
    return _drawn("Open deals by the month in which they are expected to close", made, rows, form, 200)


def funnel(report: Report, form: Format) -> Chart | None:
    one = report.funnel
    if one is None or not one.deals:
        return None
    steps = (("Contracted", one.contracted, None), ("Invoiced", one.invoiced, one.days_to_invoice),
             ("Collected", one.collected, one.days_to_collect))
    rows = [{"step": name, "amount": float(amount),
             "label": form.whole(amount) + (f"  after {form.number(days, 1)} days" if days is not None else "")}
            for name, amount, days in steps]
    return _drawn("Contracted, invoiced and collected of the deals of twelve months", _labelled(rows, "step", BLUE), rows, form, 120)


def waterfall(report: Report, one: Bridge, form: Format) -> Chart | None:
    """From contracted over the causes to invoiced: each bar begins where the one before it ended."""
    rows, reached = [], Decimal(0)
    for line in one.lines:
        total = line.line in ("contracted", "invoiced")
        start, end = (Decimal(0), line.amount) if total else (reached, reached + line.amount)
        kind = "total" if total else "more" if line.amount > 0 else "less"
        sign = "+" if kind == "more" else ""
        rows.append({"line": words(line.line).capitalize(), "start": float(start), "end": float(end), "amount": float(line.amount),
                     "right": float(max(start, end)), "kind": kind, "label": sign + form.whole(line.amount)})
        reached = end
    if rows and rows[-1]["kind"] != "total":
        nothing = {"start": 0.0, "end": 0.0, "amount": 0.0, "right": 0.0}
        rows.append({"line": "Invoiced", **nothing, "kind": "total", "label": form.whole(Decimal(0))})
    bars = alt.Chart(_data(rows)).encode(y=alt.Y("line:N", sort=None, scale=alt.Scale(paddingInner=0.25)))
    shades = alt.Scale(domain=["total", "more", "less"], range=[BLUE, GREEN, RED])
    made = bars.mark_bar().encode(
        x=alt.X("start:Q", axis=None, scale=_with_room([row[name] for row in rows for name in ("start", "end")])), x2="end:Q",
        color=alt.Color("kind:N", scale=shades, legend=None),
    ) + bars.mark_text(align="left", dx=5).encode(x=alt.X("right:Q"), text="label:N")
    return _drawn(f"From contracted to invoiced, {span(report, one)}", made, rows, form, 22 * len(rows))


def ageing(report: Report, form: Format) -> Chart | None:
    rows = [{"bucket": words(one.bucket).capitalize(), "amount": float(one.amount), "label": form.whole(one.amount),
             "late": one.bucket != "current"} for one in report.ageing]
    colour = alt.condition(alt.datum.late, alt.value(ORANGE), alt.value(BLUE))
    return _drawn("Receivables by days past due", _labelled(rows, "bucket", colour), rows, form, 170)


def days_to_pay(report: Report, form: Format) -> Chart | None:
    rows = [{"month": form.short_month(one.month), "amount": None if one.days is None else float(one.days),
             "label": "" if one.days is None else form.number(one.days)} for one in report.paid]
    base = alt.Chart(_data(rows)).encode(x=alt.X("month:O", sort=None), y=alt.Y("amount:Q", axis=None))
    made = base.mark_bar(color=BLUE).encode() + base.mark_text(dy=-7).encode(text="label:N")
    return _drawn("Average days to pay by the month of the payment", made, rows, form, 200)


def cash(report: Report, form: Format) -> Chart | None:
    series = (("From open invoices", "invoices", BLUE), ("From the weighted pipeline", "pipeline", ORANGE))
    rows = [{"week": form.short_day(one.week), "what": label, "amount": float(getattr(one, name))}
            for one in report.cash if one.week for label, name, _ in series]
    made = alt.Chart(_data(rows)).mark_bar().encode(
        x=alt.X("week:O", sort=None), y=alt.Y("amount:Q", axis=alt.Axis(format="~s")), color=_colours(series))
    return _drawn("Cash expected by week", made, rows, form, 240)


def owners(report: Report, form: Format) -> Chart | None:
    series = (("Bookings", "bookings", BLUE), ("Recognised", "recognised", GREEN))
    rows, names = [], set()
    for one in report.owners[:MAX_OWNERS]:
        name = _short(owner_name(one))
        name = f"{name} ({one.owner_id})" if name in names else name  # two people may have one name
        names.add(name)
        rows += [{"owner": name, "what": label, "amount": float(getattr(one, field))} for label, field, _ in series]
    made = alt.Chart(_data(rows)).mark_bar().encode(
        y=alt.Y("owner:N", sort=None), yOffset=alt.YOffset("what:N", sort=None), x=alt.X("amount:Q", axis=alt.Axis(format="~s")),
        color=_colours(series))
    return _drawn("Bookings and recognised revenue by owner", made, rows, form, 34 * len(names))


def _labelled(rows: Sequence[Mapping[str, Any]], name: str, colour: Any) -> alt.LayerChart:
    """Bars that lie, each with its number after it."""
    base = alt.Chart(_data(rows)).encode(y=alt.Y(f"{name}:N", sort=None, scale=alt.Scale(paddingInner=0.25)))
    room = _with_room([row["amount"] for row in rows])
    bars = base.mark_bar(color=colour) if isinstance(colour, str) else base.mark_bar().encode(color=colour)
    return bars.encode(x=alt.X("amount:Q", axis=None, scale=room)) + base.mark_text(align="left", dx=5).encode(x="amount:Q", text="label:N")


def _with_room(ends: Sequence[float]) -> alt.Scale:
    """A scale on which a label has room after the longest bar."""
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return alt.Scale(domain=[low, high + 0.4 * (high - low or 1)], nice=False)


def _colours(series: Sequence[tuple[str, str, str]]) -> alt.Color:
    scale = alt.Scale(domain=[label for label, _, _ in series], range=[colour for _, _, colour in series])
    return alt.Color("what:N", sort=None, scale=scale)


def _data(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def _drawn(title: str, made: alt.Chart | alt.LayerChart, rows: Sequence[Mapping[str, Any]], form: Format, height: int,
           width: int = HALF) -> Chart | None:
    """The chart in both widths; None where every amount is nothing."""
    if not any(row["amount"] for row in rows):
        return None
    described = made.properties(height=height, autosize={"type": "fit", "contains": "padding"}).to_dict() | {"config": _CONFIG}
    return Chart(title, *(_svg(described | {"width": points}, title, form) for points in (width, PHONE)))


def _svg(described: Mapping[str, Any], title: str, form: Format) -> str:
    locale = {"decimal": form.point, "thousands": form.group, "grouping": [3], "currency": ["", ""], "minus": "-"}
    drawn = vl_convert.vegalite_to_svg(dict(described), vl_version=_VERSION, format_locale=locale)
    drawn = _NEEDLESS.sub("", drawn)
    while (less := _EMPTY.sub("", drawn)) != drawn:
        drawn = less
    for colour, name in _VARIABLES.items():
        drawn = drawn.replace(colour, f"var(--{name})")
    drawn = re.sub(r"(\d+\.\d)\d+", r"\1", drawn)
    begin = re.sub("<svg", '<svg role="img"', drawn[: drawn.index(">") + 1])
    return f"{begin}<title>{html.escape(title)}</title>{drawn[drawn.index('>') + 1:]}"


def _short(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
