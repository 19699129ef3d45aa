"""The pages: what they show follows from results/ and the files, and they are short."""
import json
import locale
import re
import shutil

import pytest

from data.cli import BadInput
from lab import claims, pages
from lab.tables import STUDENT
from tests.helpers import fails

ROOT = pages.ROOT
CHAPTERS = [path for pattern in pages.PAGES for path in sorted(ROOT.glob(pattern))
            if path.name not in ("LOG.md", "CLAIMS.md") and path.parent.name != "course"]
MOST = 900                  # words of a page
ROWS = 10                   # of a table


def name(path):
    return str(path.relative_to(ROOT))


# ---- the pages of this project -------------------------------------------------------------------

def test_the_pages_are_up_to_date():
    """Else: python -m lab.pages"""
    stale = [name(path) for path, text in pages.pages().items()
             if not path.exists() or path.read_text(encoding="utf-8") != text]
    assert not stale


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_page_is_short(path):
    assert words(path.read_text(encoding="utf-8")) <= MOST


def words(text):
    """All but comments and what stands in fences."""
    return len(pages.NO_PROSE.sub(" ", text).split())


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*.md")), ids=name)
def test_tables_of_results_are_short(path):
    """But for CLAIMS.md, which has a row for each claim."""
    text = pages.NO_PROSE.sub("", path.read_text(encoding="utf-8"))
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert path.name == "CLAIMS.md" or all(table.count("\n") <= ROWS + 2 for table in tables)


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_an_interval_in_the_text_is_computed(path):
    """A comment "numbers" lists it."""
    text = path.read_text(encoding="utf-8")
    listed = {line.partition(" = ")[0] for block in pages.NUMBERS.findall(text)
              for line in block.splitlines()}
    prose = pages.NO_PROSE.sub("", pages.FILLED.sub("", text))
    found = re.findall(r"[+-]?\d[\d.]*\s±\s\d+(?:\.\d+)?", prose)
    assert {" ".join(number.split()) for number in found} <= listed


def test_every_folder_of_results_has_a_table_page():
    folders = {path.parent.name for path in ROOT.glob("results/*/*.json")}
    assert folders == set(pages.FOLDERS)
    assert {path.stem for path in ROOT.glob("results/tables/*.md")} == \
        folders | {"bench", "ratios", "README"}


def test_the_time_of_the_default_command_is_what_was_measured():
    found = pages.read("default-time.json")
    here, before = found["seconds"]["here"], found["seconds"]["097c379"]
    text = " ".join((ROOT / "results/speed.md").read_text(encoding="utf-8").split())
    assert f"{here:.0f} s against {before:.0f} s" in text
    assert f"{found['mini']['seconds']:.0f} s" in text


# ---- a small page --------------------------------------------------------------------------------

HALF = STUDENT[0]       # two seeds, 10 and -10 points from their mean: 10 t


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two seeds of a method and of its control, with as many problems right as `made` says."""
    def made(method, seed, accuracy, steps, updates, **knobs):
        row = {"method": method, "knobs": knobs, "accuracy": accuracy, "steps": steps, "ms": 1,
               "n": 50, "low": accuracy - 0.1, "high": accuracy + 0.1, "variant": "",
               "updates": updates}
        path = tmp_path / "results/x" / f"{method}-{seed}-{updates}-{knobs}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        config = {"method": method, "task": "arithmetic", "seed": seed, "steps": updates,
                  "command": f"python train.py --method {method} --seed {seed}"}
        text = json.dumps({"rows": [row], "config": config, "git": "0123456789"})
        path.write_text(text, encoding="utf-8")
    for seed, sign in enumerate((1, -1)):
        made("cot", seed, 0.8 + 0.1 * sign, 8, 100)
        made("nocot", seed, 0.5 - 0.1 * sign, 4, 100)
        made("nocot", seed, 0.6, 4, 200)
        made("colar", seed, 0.7, 2, 100, c=2)
        made("colar", seed, 0.3, 2, 100, c=5)
    made("icot", 0, 0.5, 3, 100)
    for target in (claims, pages):
        monkeypatch.setattr(target, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(pages, "FOLDERS", {"x": "A small folder"})
    claims.rows.cache_clear()
    for file in ("bench.json", "ratios-1.json", "ratios-2.json"):
        shutil.copy(ROOT / "results" / file, tmp_path / "results")
    yield tmp_path
    claims.rows.cache_clear()


def filled(text):
    """The text of a page, which does not change again."""
    new = pages.fill(text, "page.md")
    assert pages.fill(new, "page.md") == new
    return new


def test_a_table_has_the_rows_and_columns_that_are_asked_for(project):
    asked = """<!-- table x: columns=method,accuracy=right answers,steps,seeds
cot = written chain
x: nocot @200 = no chain, longer
icot = iCoT
-->
"""
    new = filled(f"Before.\n\n{asked}| old |\n<!-- end -->\n\nAfter.\n")
    assert new == f"""Before.

{asked}| method | right answers | thinking steps | seeds x problems |
|---|---|---|---|
| written chain | 80.0 ± {10 * HALF:.1f} | 8.0 | 2 x 50 |
| no chain, longer | 60.0 ± 0.0 | 4.0 | 2 x 50 |
| iCoT | 50.0 (40.0 to 60.0) | 3.0 | 1 x 50 |
<!-- end -->

After.
"""


def test_a_column_may_name_a_part_of_a_row(project):
    new = filled("<!-- table x: columns=method,accuracy{2}=slow,accuracy{5}=fast\n"
                 "colar c={} = CoLaR\n-->\n<!-- end -->\n")
    assert "| method | slow | fast |\n|---|---|---|\n| CoLaR | 70.0 ± 0.0 | 30.0 ± 0.0 |" in new


def test_a_whole_table_is_that_of_lab_tables(project):
    new = filled("<!-- lab.tables results/x/*.json -->\n<!-- end -->\n")
    paths = sorted((project / "results/x").glob("*.json"))
    assert pages.summary(paths) in new and new.count("| nocot |") == 2


def test_speed_is_of_one_thread_and_of_two(project):
    new = filled("<!-- ratios\ncot tokens/s = CoT\n-->\n<!-- end -->\n")
    one, two = (next(row["ratio"] for row in pages.read(f"ratios-{n}.json")["rows"]
                     if row["measure"] == "cot tokens/s") for n in (1, 2))
    assert f"| CoT | {one:.2f} | {two:.2f} |  |" in new


@pytest.mark.parametrize("form, what, number", [
    ("1.0 ± 2.0", "x: cot", f"80.0 ± {10 * HALF:.1f}"), ("7", "x: cot", "80"),
    ("1.00", "steps of x: cot", "8.00"), ("1.0 (0.1 to 0.2)", "x: icot", "50.0 (40.0 to 60.0)"),
    ("+1.0 ± 2.0", "x: cot | x: nocot @100", f"+30.0 ± {20 * HALF:.1f}"),
    ("-1.0 ± 2.0", "x: cot | x: nocot @200", f"+20.0 ± {10 * HALF:.1f}"),
    ("1 ± 2", "x: nocot @200 | x: cot", f"-20 ± {10 * HALF:.0f}"),
    ("+4.0", "steps of x: nocot @100 / x: cot", "-50.0"),
    ("+4.0", "steps of x: nocot @100 | x: cot", "-4.0"), ("+3.0", "x: icot | x: cot", "-40.0")])
def test_a_number_in_the_text_is_put_right(project, form, what, number):
    page = "# Title\n\nIt has {} points.\n\n<!-- numbers\n{} = {}\n-->\n"
    assert filled(page.format(form, form, what)) == page.format(number, number, what)


def test_numbers_that_have_become_the_same_stay_apart(project):
    """Both are 70 for a while; the comment keeps the order of the text."""
    page = "First {}, then 80, then\n{}.\n\n<!-- numbers\n{} = x: {}\n{} = x: {}\n-->\n"
    same = filled(page.format("1 ± 1", "2 ± 1", "2 ± 1", "colar c=2", "1 ± 1", "colar c=5"))
    assert same == page.format("30 ± 0", "70 ± 0", "30 ± 0", "colar c=5", "70 ± 0", "colar c=2")
    two = page.format("9", "9", "9", "colar c=5", "9", "colar c=2")
    assert filled(two) == page.format("30", "70", "30", "colar c=5", "70", "colar c=2")


def test_numbers_elsewhere_are_left_alone(project):
    """Those in comments, fences, tables and other numbers."""
    page = ("<!-- 7 -->\n17, 7.5, -7, 7 ± 2, c=7 and {}.\n```\n7\n```\n"
            "<!-- table x: columns=method\ncot = 7\n-->\n| method |\n|---|\n| 7 |\n<!-- end -->\n"
            "<!-- numbers\n{} = x: cot\n-->\n")
    assert filled(page.format("7", "7")) == page.format("80", "80")


def test_lines_of_files_are_counted(project):
    for file, n in (("a.py", 3), ("lab/b.py", 20), ("lab/c.py", 1000)):
        (project / file).parent.mkdir(exist_ok=True)
        (project / file).write_text("x\n" * n, encoding="utf-8")
    page = ("<!-- lines -->\n| file | lines | what it holds |\n|---|---|---|\n"
            "| `a.py` `lab/b.py` | {} | one \\| two |\n| `lab/*.py` | {} | |\n\n| `a.py` | 0 |\n")
    assert filled(page.format(0, "")) == page.format("23", "1,020")


TABLE = "<!-- table x: columns={}\n{}\n-->\n<!-- end -->\n"
NUMBER = "It is {}.\n\n<!-- numbers\n{} = {}\n-->\n"


@pytest.mark.parametrize("text, message", [
    (TABLE.format("method,accuracy", "pause = none"), "0 rows are called 'x: pause'"),
    (TABLE.format("method,accuracy", "nocot = none"), "2 rows are called 'x: nocot'"),
    (TABLE.format("method,accuracy", "y: cot = none"), "0 rows are called 'y: cot'"),
    (TABLE.format("method,acuracy", "cot = CoT"), "unknown column 'acuracy' (nearest: accuracy)"),
    (TABLE.format("method", "cot"), "no ' = ' in 'cot'"),
    ("<!-- table x\ncot = CoT\n-->\n<!-- end -->\n", "no table 'FOLDER: columns=...'"),
    (TABLE.format("method", "cot = CoT").replace("<!-- end -->\n", ""), "not closed"),
    (TABLE.format("method", "cot = CoT").replace("<!-- end -->\n", "") + "<!-- ratios\n-->\n"
     "<!-- end -->\n", "not closed"),
    ("<!-- ratios\ncot token/s = CoT\n-->\n<!-- end -->\n", "unknown measure 'cot token/s'"),
    ("<!-- lab.tables results/y/*.json -->\n<!-- end -->\n", "no results files"),
    (NUMBER.format("5", "6", "x: cot"), "'6' stands in the text 0 times, in its comments 1"),
    (NUMBER.format("6 and 6", "6", "x: cot"), "'6' stands in the text 2 times"),
    (NUMBER.format("6", "6", "cot"), "'cot' names no folder of results/"),
    (NUMBER.format("6", "6", "x: nocot"), "2 rows are called 'x: nocot'"),
    (NUMBER.format("6", "6", "loss of x: cot"), "'x: cot' has no loss"),
    (NUMBER.format("6", "6", "los of x: cot"), "unknown column 'los' (nearest: loss)"),
    (NUMBER.format("six", "six", "x: cot"), "'six' is no number"),
    (NUMBER.format("6 ± 1", "6 ± 1", "x: icot | x: cot"), "has one seed, so no interval"),
    ("<!-- numbers\n6 - x: cot\n-->\n", "no ' = ' in '6 - x: cot'"),
    ("<!-- lines -->\n| file | lines |\n|---|---|\n| `none.py` | 0 |\n", "none.py: no such file"),
    ("<!-- lines -->\n| file | lines |\n|---|---|\n| none.py | 0 |\n",
     "no file and number of lines"),
    ("<!-- lines -->\nText.\n", "without its <!-- end --> or table"),
])
def test_what_cannot_be_filled_is_one_line(project, text, message, capsys):
    """And no page is changed."""
    (project / "README.md").write_text(text, encoding="utf-8")
    line = fails([], capsys, pages.main)
    assert line.startswith("lab.pages: README.md: ") and message in line
    assert (project / "README.md").read_text(encoding="utf-8") == text
    assert not (project / "results/tables").exists()


def test_a_folder_needs_a_title(project, monkeypatch):
    monkeypatch.setattr(pages, "FOLDERS", {})
    with pytest.raises(BadInput, match="unknown folder of results/ 'x'"):
        pages.table_pages()


@pytest.fixture
def ascii_locale():
    """Text that names no encoding is ASCII here (unless Python is in its UTF-8 mode)."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.usefixtures("ascii_locale")
def test_the_command_writes_what_has_changed(project, capsys):
    """Byte by byte: "naïve" stays what it is in every locale."""
    page = "A naïve sum: {}\n\n<!-- numbers\n{} = x: cot\n-->\n"
    (project / "docs").mkdir()
    (project / "docs/a.md").write_bytes(page.format("7.0 ± 1.0", "7.0 ± 1.0").encode())
    (project / "README.md").write_bytes(b"Nothing to fill.\r\n")
    pages.main([])
    now = f"80.0 ± {10 * HALF:.1f}"
    assert (project / "docs/a.md").read_bytes() == page.format(now, now).encode()
    assert (project / "README.md").read_bytes() == b"Nothing to fill.\r\n"
    said = capsys.readouterr().out
    assert "docs/a.md\n" in said and "README.md\n" in said and "5 pages changed" in said
    table = (project / "results/tables/x.md").read_text(encoding="utf-8")
    assert "Seeds: 0, 1. Commits: 0123456." in table and "# A small folder" in table
    assert "python train.py --method cot --seed S\n" in table
    pages.main([])
    assert "0 pages changed" in capsys.readouterr().out
