"""The roster of a class: a CSV of names, e-mail addresses, id numbers and short names, Moodle's or one's own."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trenza.errors import UsageError

_HEADERS = {
    "name": ("name", "full name", "student name", "nombre completo", "nombre y apellidos"),
    "first": ("first name", "given name", "nombre", "nombre de pila"),
    "last": ("last name", "surname", "family name", "apellido", "apellidos", "apellido(s)"),
    "email": ("email", "e-mail", "email address", "e-mail address", "useremail", "correo", "correo electrónico",
              "dirección de correo", "dirección de correo electrónico", "dirección email"),
    "idnumber": ("id number", "idnumber", "useridnumber", "id", "número de id", "número de identificación"),
    "student": ("student", "username", "user", "login", "alumno", "alumna", "estudiante", "usuario",
                "nombre de usuario"),
}  # fmt: skip
"""What each column may be called, in the words of Moodle's exports in English and Spanish."""


@dataclass(frozen=True, slots=True)
class Row:
    """Somebody on the roster; "" where a column is missing or empty. `line` counts from 1, the header included."""

    line: int
    name: str = ""
    email: str = ""
    idnumber: str = ""
    student: str = ""
    first: str = ""
    last: str = ""

    @property
    def shown(self) -> str:
        return self.name or f"{self.first} {self.last}".strip() or self.student or self.email or self.idnumber

    @property
    def key(self) -> str:
        """What her seeded values are drawn by: what `trenza up --student` was told."""
        return self.student or self.email or self.idnumber or self.shown

    def callings(self) -> Iterator[str]:
        """What a submission of hers may be called, folded."""
        ways = (
            self.name, f"{self.first} {self.last}", f"{self.last} {self.first}", self.email, self.email.split("@")[0],
            self.idnumber, self.student,
        )  # fmt: skip
        yield from {folded(way) for way in ways} - {""}


def folded(text: str) -> str:
    """A name without what people write differently: capitals, accents, and signs between words."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(character if character.isalnum() or character in "@." else " " for character in decomposed
                   if not unicodedata.combining(character))  # fmt: skip
    return " ".join(kept.split())


def read_roster(data: bytes, file: str) -> tuple[Row, ...]:
    """The rows of a CSV (commas, semicolons or tabs). Raises UsageError naming the line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8", hint="save it as CSV UTF-8") from error
    header_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=header_line.count)
    try:
        table = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UsageError(f"{file} is not a CSV file: {error}") from error
    if not table:
        raise UsageError(f"{file} is empty", hint="columns: name, email or idnumber, student")
    columns = _columns(table[0])
    if not columns:
        raise UsageError(f"{file}: no known column in {', '.join(table[0])}",
                         hint="columns: name, email or idnumber, student")  # fmt: skip
    rows = []
    for line, cells in enumerate(table[1:], 2):
        row = Row(line, **{column: cells[at].strip() for column, at in columns.items() if at < len(cells)})
        if row.shown:
            rows.append(row)
    _refuse_twins(rows, file)
    return tuple(rows)


def _columns(header: list[str]) -> dict[str, int]:
    """Where each known column is; `Nombre` alone is the whole name, beside `Apellido(s)` the first."""
    by_title = {folded(title): column for column, titles in _HEADERS.items() for title in titles}
    columns: dict[str, int] = {}
    for at, title in enumerate(header):
        column = by_title.get(folded(title))
        if column is not None:
            columns.setdefault(column, at)
    if "first" in columns and "last" not in columns and "name" not in columns:
        columns["name"] = columns.pop("first")
    return columns


def _refuse_twins(rows: list[Row], file: str) -> None:
    for column in ("email", "idnumber", "student"):
        lines: dict[str, int] = {}
        for row in rows:
            value = folded(getattr(row, column))
            if value and value in lines:
                raise UsageError(f"{file}: lines {lines[value]} and {row.line} have the same {column}")
            lines[value] = row.line


def rows_by_calling(rows: tuple[Row, ...]) -> Mapping[str, Row]:
    """Who is meant by a folded name; what two people could be called by means nobody."""
    found: dict[str, Row] = {}
    doubtful: set[str] = set()
    for row in rows:
        for calling in row.callings():
            if calling in found:
                doubtful.add(calling)
            found[calling] = row
    return {calling: row for calling, row in found.items() if calling not in doubtful}
