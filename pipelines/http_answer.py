"""What a vendor answered: its body, unpacked within a limit, and the JSON in it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import requests

from pipelines.foreign import read_json
from pipelines.http_errors import FieldMissing, Unreadable
from pipelines.redaction import redact

# The one packing that is asked for; "x-gzip" is its older name (RFC 9110, 8.4.1.3).
PACKED = ("gzip", "x-gzip")
_GZIP = 16 + zlib.MAX_WBITS
_READ_BYTES = 65_536


class Answered(dict[str, Any]):
    """A JSON object of an answer: a name that it lacks is an error that says whose answer, which name, and what is there."""

    __slots__ = ("request",)

    def __missing__(self, name: str) -> Any:
        raise FieldMissing(getattr(self, "request", "the call"), name, self)


def need(answer: Any, name: str, about: str) -> Any:
    """The field of a JSON object, which may not be null. FieldMissing names the call that was answered or, where the answer is no
    object, what it was to be `about`."""
    there = answer if isinstance(answer, Mapping) else {f"a {type(answer).__name__}": True}
    if there.get(name) is None:
        raise FieldMissing(getattr(answer, "request", about), name, (key for key, value in there.items() if value is not None))
    return there[name]


@dataclass(frozen=True)
class Response:
    """What the vendor answered. `json` has every number with a decimal point as Decimal, from its text."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)
    request: str = "the call"

    @cached_property
    def json(self) -> Any:
        def answered(values: Any) -> Answered:
            made = Answered(values)
            made.request = self.request
            return made

        try:
            return read_json(self.text, answered) if self.text else None
        except ValueError as error:
            raise Unreadable(self.status, self.text, self.request, f"that is not JSON ({error}); run again later") from error

    def redacted(self) -> Response:
        """The same answer without secrets that its text repeats."""
        return replace(self, text=redact(self.text))


class Undecodable(Exception):
    """A body that is cut, or packed in a way that cannot be undone."""


class TooLarge(Exception):
    """A body of more bytes than allowed; what was `read` of it."""

    def __init__(self, read: bytes):
        super().__init__()
        self.read = read


def read_body(answer: requests.Response, most: int) -> bytes:
    """The unpacked body, read as it comes. Raises Undecodable, TooLarge beyond `most` bytes, and errors of urllib3."""
    packing = answer.headers.get("Content-Encoding", "").strip().lower()
    if packing not in ("", "identity", *PACKED):
        raise Undecodable(f"it is packed as {packing!r}, which was not asked for")
    body, unpacked = bytearray(), _Unpacked(most) if packing in PACKED else None
    while piece := answer.raw.read1(_READ_BYTES, decode_content=False):
        body += unpacked.add(piece) if unpacked else piece
        if len(body) > most:
            raise TooLarge(bytes(body[:most]))
    if unpacked:
        unpacked.end()
    return bytes(body)


class _Unpacked:
    """The members of a gzip stream, one piece after another; never unpacks more than one byte beyond what is allowed."""

    def __init__(self, most: int):
        self._left, self._member, self._begun = most + 1, zlib.decompressobj(_GZIP), False

    def add(self, piece: bytes) -> bytes:
        out = bytearray()
        while piece and self._left > 0:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._begun = True
            try:
                made = self._member.decompress(piece, self._left)
            except zlib.error as error:
                raise Undecodable(f"it is no gzip ({error})") from error
            self._left -= len(made)
            out += made
            piece = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return bytes(out)

    def end(self) -> None:
        if self._begun and not self._member.eof:
            raise Undecodable("it is cut in the middle")
