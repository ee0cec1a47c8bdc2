"""Who is in a class, as Moodle exports it or a teacher writes it, and whose a submission is."""

from __future__ import annotations

from pathlib import Path

import pytest

from trenza.errors import UsageError
from trenza.grade.roster import read_roster
from trenza.grade.submissions import Submission, entries_of, find_submissions


@pytest.mark.parametrize(
    "header",
    [
        "First name,Last name,Email address,ID number",
        "Nombre;Apellido(s);Dirección de correo;Número de ID",
        "\ufeffnombre\tapellidos\tCORREO\tid",
    ],
)
def test_moodles_headers_are_understood(header: str) -> None:
    sign = next(sign for sign in ";\t," if sign in header)
    data = f"{header}\r\n{sign.join(['Ana', 'García', 'ana@uni.es', '7'])}\r\n".encode()
    (row,) = read_roster(data, "roster.csv")
    assert (row.shown, row.email, row.idnumber, row.key) == ("Ana García", "ana@uni.es", "7", "ana@uni.es")


def test_a_roster_by_hand_has_three_columns() -> None:
    (row,) = read_roster(b'name,idnumber,student\n"Diaz, Ana",17,adiaz\n,,\n', "roster.csv")
    assert (row.shown, row.idnumber, row.key) == ("Diaz, Ana", "17", "adiaz")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"colour,size\nred,1\n", "no known column"),
        (b'name\n"open', "not a CSV"),
        (b"name,email\na,x@y\nb,X@Y\n", "lines 2 and 3"),
    ],
)
def test_a_wrong_roster_is_told_why(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_roster(data, "roster.csv")


def make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def test_submissions_are_archives_and_directories_that_hold_one(tmp_path: Path) -> None:
    make(tmp_path, "alice.trenza", "bob/x.trenza", "bob/result.json", "carol/deep/er/y.trenza", "dave/notes.pdf",
         "eve/1.trenza", "eve/2.trenza", ".hidden.trenza", "readme.txt", "out/result.json",
         "Ana García_12345_assignsubmission_file_/lab.trenza",
         "Luis Gil_9_assignsubmission_file_lab.trenza")  # fmt: skip
    (tmp_path / "mallory.trenza").symlink_to("/etc/passwd")
    found = {one.name: one for one in find_submissions(tmp_path, skip=(tmp_path / "out").resolve())}
    assert set(found) == {"alice", "bob", "carol", "dave", "eve", "mallory", "Ana García", "Luis Gil"}
    assert found["carol"].archive == tmp_path / "carol/deep/er/y.trenza"
    assert found["Ana García"].participant == "12345" and found["Luis Gil"].archive is not None
    assert found["dave"].empty
    assert "2 archives" in found["eve"].problem and "link" in found["mallory"].problem


def test_everybody_on_the_roster_has_an_entry_and_a_submission_is_found_by_any_of_her_names() -> None:
    rows = read_roster(
        b"name,email,idnumber,student\nAna Garcia,ana@u.es,1,agarcia\nBob Lee,bob@u.es,2,blee\n"
        b"Cleo Fo,cleo@u.es,3,cfo\nDan Po,dan@u.es,4,dpo\n", "roster.csv",
    )  # fmt: skip
    handed_in = [Submission("ana_garcía", Path("a")), Submission("bob@u.es", Path("b")), Submission("3", Path("c"))]
    entries = entries_of([*handed_in, Submission("stranger", Path("s"))], rows)
    assert [entry.student.key for entry in entries] == ["agarcia", "blee", "cfo", "dpo", "stranger"]
    assert [entry.submission for entry in entries[:4]] == [*handed_in, None]
    assert not entries[4].on_roster


def test_two_submissions_of_one_student_are_for_the_teacher_to_decide() -> None:
    rows = read_roster(b"name,student\nAna Garcia,ana\n", "roster.csv")
    with pytest.raises(UsageError, match="two submissions of Ana"):
        entries_of([Submission("ana", Path("1")), Submission("Ana Garcia", Path("2"))], rows)
    with pytest.raises(UsageError, match="two submissions are called x"):
        entries_of([Submission("x", Path("1")), Submission("x", Path("2"))], ())


def test_namesakes_without_a_roster_are_told_apart_by_moodles_number() -> None:
    entries = entries_of([Submission("Ana", Path("1"), "", "7"), Submission("Ana", Path("2"), "", "8")], ())
    assert [entry.student.name for entry in entries] == ["Ana (7)", "Ana (8)"]
    assert len({entry.student.directory for entry in entries}) == 2


def test_a_name_that_fits_two_students_is_nobodys() -> None:
    rows = read_roster(b"name,student\nAna Gil,one\nAna Gil,two\n", "roster.csv")
    entries = entries_of([Submission("Ana Gil", Path("1"))], rows)
    assert [entry.submission is None for entry in entries] == [True, True, False]


@pytest.mark.parametrize("name", ["../../etc", "report.html", "Gradescope", "a/b", "-rf", ".", "\x1b[31m", "ñandú"])
def test_a_students_directory_is_a_plain_name(name: str) -> None:
    (entry,) = entries_of([Submission(name, Path("1"))], ())
    directory = entry.student.directory
    assert directory and "/" not in directory and directory[0] not in ".-" and directory.isprintable()
    assert directory.casefold() not in {"report.html", "gradescope"}
