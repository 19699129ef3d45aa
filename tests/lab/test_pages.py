"""Pages say what results/ say: their tables, the numbers of their text, their figures."""
import json
import re

import pytest

from data.cli import BadInput
from lab import claims, figures, pages, quantities
from lab.tables import STUDENT

LONG = "LOG.md", "CLAIMS.md", "timings.md"      # of results/; and the README.md of its folders
SHORT = ["README.md", *sorted(f"results/{path.name}" for path in claims.RESULTS.glob("*.md")
                 if path.name not in LONG)]
WORDS, ROWS = 900, 10       # what a page has at most, and a table of a chapter


def read(name):
    return (claims.ROOT / name).read_text(encoding="utf-8")


# ---- the pages of this project -------------------------------------------------------------------

@pytest.fixture(scope="module")
def renewed():
    """({path: text} as results/ have it, what is wrong)."""
    wrong = []
    return pages.renewed_pages(lambda page, message: wrong.append(f"{page}: {message}")), wrong


def test_every_number_has_its_row(renewed):
    assert not renewed[1]


def test_pages_are_up_to_date(renewed):
    """If not: python -m lab.pages"""
    for path, text in renewed[0].items():
        assert path.read_text(encoding="utf-8") == text, path


@pytest.mark.parametrize("name", SHORT)
def test_a_page_is_short(name):
    assert pages.words(read(name)) <= WORDS


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_chapter_has_one_short_table(name):
    rows = [len(table.splitlines()) - 2 for table in
            re.findall(r"(?:^\|.*\n)+", read(f"results/{name}.md"), re.M)]
    assert len(rows) == 1 and 1 <= rows[0] <= ROWS


@pytest.mark.parametrize("name", SHORT)
def test_no_number_is_typed(name):
    assert pages.unnamed(read(name)) == []


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_chapter_has_one_figure_and_it_shows_what_results_have(name):
    """If not: python -m lab.pages"""
    assert re.findall(r"!\[.*?\]\((.*?)\)", read(f"results/{name}.md")) == [f"figures/{name}.png"]
    assert not figures.is_stale(name)
    title = figures.FIGURES[name]().title
    assert title and all(panel.label for panel in figures.FIGURES[name]().panels)


def test_a_page_links_to_what_there_is():
    for page in claims.RESULTS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), (page, link)


# ---- numbers by name -----------------------------------------------------------------------------

@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two seeds of a method and of its control, the control at two numbers of updates."""
    def row(name, seed, accuracy, steps, updates):
        levels = {"1": {"n": 1, "accuracy": 1.0}, "2": {"n": 3, "accuracy": accuracy}}
        rows = [{"method": name, "knobs": {}, "accuracy": accuracy, "steps": steps, "ms": 1,
                 "n": 50, "low": 0.1, "high": 0.9, "variant": "", "updates": updates,
                 "by_difficulty": levels}]
        config = {"method": name, "task": "arithmetic", "seed": seed, "steps": updates}
        path = tmp_path / "results/x" / f"{name}-{seed}-{updates}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"rows": rows, "config": config}), encoding="utf-8")
    for seed, (a, b) in enumerate([(0.9, 0.5), (0.8, 0.6)]):
        row("cot", seed, a, 8, 100)
        row("nocot", seed, b, 4, 100)
        row("nocot", seed, b + 0.1, 4, 200)
    row("pause", 0, 0.5, 0, 100)
    (tmp_path / "results/time.json").write_text(
        '{"rows": [{"what": "a b", "ratio": 1.26}, {"what": "c", "ratio": 2}]}', encoding="utf-8")
    (tmp_path / "a.py").write_text("1\n2\n3\n", encoding="utf-8")
    monkeypatch.setattr(claims, "ROOT", tmp_path)
    monkeypatch.setattr(claims, "RESULTS", tmp_path / "results")
    claims.rows.cache_clear()
    yield tmp_path
    claims.rows.cache_clear()


@pytest.mark.parametrize("text, values", [
    ("x: cot", {0: 90, 1: 80}), ("steps of x: cot", {0: 8, 1: 8}),
    ("x: cot | x: nocot @100", {0: 40, 1: 20}), ("x: cot | x: pause", {0: 40}),
    ("steps of x: nocot @200 / steps of x: cot", {0: 0.5, 1: 0.5}),
    ("at 1 of x: cot", {0: 100, 1: 100}), ("at 1,2 of x: pause", {0: 62.5}),
    ("time.json: rows > a b > ratio", {0: 1.26}), ("lines of a.py a.py", {0: 6})])
def test_a_number_by_its_name(results, text, values):
    assert quantities.measure(text) == pytest.approx(values)


@pytest.mark.parametrize("text, message", [
    ("x: nocot", "2 rows are called"), ("x: codi", "0 rows|not run"), ("y: cot", "rows|not run"),
    ("name of x: cot", "have no 'name'"), ("at 7 of x: cot", "no problems of this difficulty"),
    ("time.json: rows > d > ratio", "is no number"), ("gone.json: a", "is no number"),
    ("time.json: rows", "is no number"), ("lines of b.py", "no such file"),
    ("cot", "names nothing")])
def test_a_number_that_is_not_there_is_said_in_one_line(results, text, message):
    with pytest.raises(BadInput, match=message) as error:
        quantities.measure(text)
    assert "\n" not in str(error.value)


# ---- numbers in the text -------------------------------------------------------------------------

def renew(page):
    """(the page, what is wrong)"""
    wrong = []
    return pages.renew_numbers(pages.renew_blocks(page, wrong.append), wrong.append), wrong


HALF = f"{STUDENT[0] * 10:.1f}"


def test_numbers_are_written_as_they_were(results):
    """Their digits, sign, interval and percent stay; so do line breaks, code, and other numbers."""
    page = ("CoT is ahead by +1.0 ±\n9 points at c=1, or x7 is 7 in short, with 0.9 or 90%.\n"
            "It has 12,345 lines, `7` in code, 11.1 in the paper.\n\n"
            "<!-- numbers\n+1.0 ± 9 = x: cot | x: nocot @100\n"
            "x7 is 7 in short = x: cot | x: nocot @100\n"
            "0.9 or = steps of x: nocot @100 / steps of x: cot\n"
            "90% = steps of x: nocot @100 / steps of x: cot\n12,345 = lines of a.py\n"
            "11.1 = quoted: the paper\n-->\n")
    new, wrong = renew(page)
    assert not wrong
    assert f"by +30.0 ± {HALF} points at c=1, or x7 is 30 in short, with 0.5 or 50%.\n" in new
    assert "It has 3 lines, `7` in code, 11.1 in the paper." in new
    assert f"\n+30.0 ± {HALF} = x: cot" in new and "\nx7 is 30 in short = x" in new
    assert renew(new) == (new, [])


@pytest.mark.parametrize("text, line, message", [
    ("It has 7% and 7% more.", "7% = x: cot", "stands 2 times"),
    ("It has 17.5%.", "7.5% = x: cot", "stands 0 times"),
    ("In code `7.5`, <!-- 7.5 -->.", "8.5 = x: cot", "stands 0 times"),
    ("It has 7 of 9.", "7 of 9 = x: cot", "has 2 numbers"),
    ("It has 7.", "7 = x: codi", "0 rows are called"),
    ("It has 7 ± 1.", "7 ± 1 = x: pause", "no interval")])
def test_what_is_not_clear_is_said_and_stays(results, text, line, message):
    page = f"{text}\n<!-- numbers\n{line}\n-->\n"
    new, (wrong,) = renew(page)
    assert new == page and re.search(message, wrong) and "\n" not in wrong


def test_a_section_has_numbers_of_its_own(results):
    page = "7.0%\n<!-- numbers\n7.0 = x: cot\n-->\n7.0%\n<!-- numbers\n7.0 = x: pause\n-->\n"
    new, wrong = renew(page)
    assert not wrong and re.findall(r"^[\d.]+(?=%)", new, re.M) == ["85.0", "50.0"]


def test_typed_numbers_are_found():
    page = ("3 seeds, 4.5 points, 7%, 1 ± 2 and 8.5; `9.5`, [1.5](2.5), the 95% interval\n"
            "<!-- numbers\nand 8.5 = x: cot\n-->\nafter it 6.5\n```\n5.5\n```\n")
    assert pages.unnamed(page) == ["4.5", "7", "1 ± 2", "1.5", "6.5"]


# ---- tables --------------------------------------------------------------------------------------

def test_a_table_of_chosen_rows(results):
    new, wrong = renew("<!-- table: method; accuracy; steps; seeds; over none; updates\n"
                       "written = x: cot; ~ | x: nocot @100\nnothing = x: pause; -\n"
                       "gone = x: codi; -\n-->\nold\n<!-- end -->\n")
    written = f"85.0 ± {STUDENT[0] * 5:.1f} | 8.0 | 2 x 50 | +30.0 ± {HALF} | 100"
    assert f"| written | {written} |" in new
    assert "| nothing | 50.0 (10.0 to 90.0) | 0.0 | 1 x 50 |  | 100 |" in new
    assert "| gone | not run | not run | not run |  | not run |" in new and "old" not in new
    assert set(wrong) == {"results/x: 0 rows are called 'x: codi'"}


def test_a_table_of_all_rows_and_which_code_made_them(results):
    new, wrong = renew("<!-- lab.tables results/x/*.json -->\n<!-- end -->\n"
                       "<!-- made -->\n<!-- end -->\n")
    assert not wrong and new.count("\n| ") == 5 and "made with commit 097c379 or before" in new


def test_lines_of_files(results):
    table = "| file | lines | what |\n|---|---|---|\n| `a.py` `a.py` | 1 | x |\n| all | 2 | |\n"
    new, wrong = renew(f"<!-- lines -->\n{table}<!-- end -->\n")
    assert not wrong and "| `a.py` `a.py` | 6 | x |\n| all | 6 | |" in new
    _, (wrong,) = renew(f"<!-- lines -->\n{table.replace('a.py', 'b.py')}<!-- end -->\n")
    assert wrong.startswith("b.py: no such file")


# ---- the command ---------------------------------------------------------------------------------

def test_the_command_fills_what_there_is(results, monkeypatch, capsys):
    """A page, the page of a folder, and a figure of which one row is missing."""
    def drawing():
        rows = {"written": [figures.Mark("x: cot")], "gone": [figures.Mark("x: codi")]}
        return figures.Dots("How", [figures.Panel("right", lines={"chance": 50.0})], rows)
    monkeypatch.setattr(figures, "FIGURES", {"how": drawing})
    page = results / "results/page.md"
    page.write_text("A naïve 7%.\n<!-- numbers\n7 = x: cot\n-->\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        pages.main([])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 2
    assert said.startswith("figures/how.png: results/x: 0 rows are called 'x: codi'\n")
    assert page.read_text(encoding="utf-8").startswith("A naïve 85%.\n")
    folder = (results / "results/x/README.md").read_text(encoding="utf-8")
    assert "[page.md](../page.md)" in folder and folder.count("| nocot |") == 2
    assert not figures.is_stale("how")
    before = figures.path_of("how").read_bytes()
    pages.main([])
    assert figures.path_of("how").read_bytes() == before
    assert "0 of them changed; 0 figures drawn anew" in capsys.readouterr().out
    (results / "results/x/cot-1-100.json").unlink()
    claims.rows.cache_clear()
    assert figures.is_stale("how")


def test_curves_of_what_there_is(results):
    rows = {c: [figures.Mark(what, 0, "a", hollow=c > 1)]
            for c, what in ((1, "x: cot"), (2, "x: codi"), (3, "x: pause"))}
    wrong = []
    figure = figures.draw(figures.Curves("How", [figures.Panel("right")], rows, "speed",
                                         untrained=1), wrong.append)
    assert len(wrong) == 1 and "x: codi" in wrong[0]
    axes, = figure.axes
    dots = [line.get_xdata() for line in axes.lines]
    assert sum(len(x) == 1 and x[0] == 1 for x in dots) >= 2        # both seeds
    assert axes.get_xlabel() == "speed" and axes.get_title() == "right"
