"""The PDF: every link alive, no figure cut, and plain words where it cannot be printed."""

from __future__ import annotations

import io
import sys

import pytest
from pypdf import PdfReader

from press import pdf

PAGES = ["index", "pages/how_to_read", "pages/notation", "chapters/02_memorisation"]


@pytest.fixture(scope="module")
def book(chromium) -> PdfReader:
    """A book of four pages on paper."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pdf, "contents", lambda root: [("Begin", PAGES[1:])])
        patch.setattr(pdf, "ONE", pdf.HTML / "on_paper_test.html")
        try:
            return PdfReader(io.BytesIO(pdf.printed(chromium)))
        finally:
            pdf.ONE.unlink(missing_ok=True)


def test_the_outline_has_parts_pages_and_sections(book: PdfReader) -> None:
    front, begin, pages = book.outline[0], book.outline[-2], book.outline[-1]
    assert (front.title, begin.title) == ("Autoencoders: Learning by Copying", "Begin")
    named = [one.title for one in pages if not isinstance(one, list)]
    assert named[:2] == ["How to read and run this book", "Notation"]
    sections = [one.title for one in pages[1]]
    assert "In Colab" in sections
    assert not any("#" in one for one in sections)


def test_the_contents_say_on_which_sheet_a_page_begins(book: PdfReader) -> None:
    contents = book.pages[1].extract_text()
    place = pdf.sheets(book.stream.getvalue())["pages-notation"]
    assert f"Notation{place}" in contents.replace(" ", "").replace("\n", "")
    assert book.pages[place - 1].extract_text().startswith("Notation")


def test_links_lead_on(book: PdfReader) -> None:
    notes = [note.get_object() for page in book.pages for note in page.get("/Annots") or ()]
    web = [note["/A"]["/URI"] for note in notes if "/URI" in note.get("/A", {})]
    inside = [note.get("/Dest") for note in notes if "/Dest" in note]
    inside += [note["/A"]["/D"] for note in notes if "/D" in note.get("/A", {})]
    assert all(one.startswith(("https://", "http://", "mailto:")) for one in web)
    assert any(one.startswith(pdf.pages(pdf.ROOT)) for one in web), "pages that stay online"
    lost = [one for one in inside if isinstance(one, str) and one not in book.named_destinations]
    assert len(inside) > 20
    assert not lost


def test_no_figure_is_wider_or_higher_than_its_sheet(book: PdfReader) -> None:
    width, height = book.pages[0].mediabox[2:]
    assert (round(width), round(height)) == (595, 842)  # A4, in points
    sizes: list[tuple[float, float]] = []

    def look(operator, operands, matrix, text) -> None:
        if operator == b"Do":
            sizes.append((abs(float(matrix[0])), abs(float(matrix[3]))))

    for page in book.pages:
        page.extract_text(visitor_operand_before=look)
    assert len(sizes) > 10
    assert all(wide <= width and high <= height for wide, high in sizes)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (None, "No Chromium was found to print with. Debian: apt install chromium"),
        ("/bin/false", "/bin/false did not print the book: "),
        ("/no/such/browser", "/no/such/browser did not print the book: "),
    ],
)
def test_without_chromium_it_says_what_to_do(monkeypatch, capsys, named, said: str) -> None:
    monkeypatch.setenv("PATH", "")
    if named:
        monkeypatch.setenv("CHROMIUM", named)
    else:
        monkeypatch.delenv("CHROMIUM", raising=False)
    before = pdf.PDF.stat().st_mtime if pdf.PDF.is_file() else None
    assert pdf.main() == 1
    assert capsys.readouterr().err.startswith(said)
    assert (pdf.PDF.stat().st_mtime if pdf.PDF.is_file() else None) == before
    assert not pdf.ONE.exists()


def test_chromium_is_looked_for_before_the_pages_are(monkeypatch, capsys, tmp_path) -> None:
    """`make pdf` asks this first, so that nobody waits for pages that cannot be printed."""
    monkeypatch.setattr(pdf, "HTML", tmp_path)
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert pdf.main(check=True) == 0
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM")
    assert pdf.main(check=True) == 1
    assert capsys.readouterr().err.startswith("No Chromium was found to print with.")


def test_without_pages_it_says_to_build_them(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    monkeypatch.setattr(pdf, "HTML", tmp_path)
    assert pdf.main() == 1
    assert capsys.readouterr().err == "There are no pages yet. Run: make book\n"
