"""Fills the pages of this project from results/: tables, numbers in their text, counts of lines.

A page says in HTML comments where its numbers come from; lab/quantities.py has the language.

Numbers in the text: at the end of a section or of the page, each as it stands there.

    <!-- numbers
    solve 96.8% = deep-long: nocot r=16
    +8.7 ± 4.8 = default: colar c=5 | latent: coconut
    paper reports -4.8 = quoted: CoLaR, Table 1
    -->

What is left of " = " has one number, with whatever words tell it from others; it is written anew as
it was: with as many digits, a sign or none, an interval over seeds or none. All numbers of the text
above that have a decimal point, a percent sign or an interval must be named; quoted ones stay.

Tables: a line has a name and what its cells are. "~" is the first of them, which columns of COLUMNS
are of, too; "-" leaves a cell empty.

    <!-- table: method; accuracy; steps; over no chain
    CoLaR, two words a thought = default: colar c=2; ~ | default: nocot @6000
    -->
    (the table)
    <!-- end -->

    <!-- lab.tables results/tiny/*.json -->     a table of all rows of these files
    <!-- lines -->          above a table: its column "lines" has those of the files it names
    <!-- made -->           which code made the numbers of this page
    <!-- tables -->         links to the tables of all folders of results/
    <!-- end -->            ends what each of these four fills

Every folder of results/ has a README.md with all of its rows, written by this command, too.

    python -m lab.pages             # all pages, and the figures whose numbers have changed
"""
import re
import sys
import textwrap

from data.cli import BadInput, Parser, one_line
from data.files import read_json, write
from data.rows import read_results
from lab import bench, claims, figures, quantities, ratios
from lab.plan import RUNS
from lab.tables import markdown, over_seeds, summary

BLOCK = re.compile(r"<!-- (?P<kind>table: |lab\.tables |lines|made|tables)(?P<told>.*?)-->\n"
                   r"(?P<old>.*?)<!-- end -->", re.S)
NUMBERS = re.compile(r"<!-- numbers\n(.*?)-->", re.S)
NUMBER = re.compile(r"(?<![\w.=@/,-])([+-]?)(\d[\d,]*(?:\.\d+)?)( ± \d[\d,]*(?:\.\d+)?)?"
                    r"(?!\w|\.\d)")
NO_TEXT = re.compile(r"<!-- (?:table: |lab\.tables |lines|made|tables).*?<!-- end -->|<!--.*?-->"
                     r"|^```.*?^```$", re.S | re.M)
NO_WORDS = re.compile(r"`[^`]*`|\]\([^)]*\)|https?://\S+")
COLUMNS = {     # of tables: a row's column, what it is called, and its format
    "accuracy": ("accuracy, %", None), "steps": ("thinking steps", ".1f"),
    "updates": ("updates", ".0f"), "ms": ("ms per problem", ".2f"),
    "seeds": ("seeds x problems", None),
    "loss": ("loss on these problems", ".3f"), "decoded": ("latents read, %", ".1f"),
    "iterations": ("iterations", ".1f"), "cache": ("cached numbers per token", ".0f"),
    "rebuilt": ("words rebuilt, %", ".1f"), "donor": ("the donor's, %", ".1f")}
TIMINGS = {     # files of results/ without rows, and what made them
    "bench.json": "python -m lab.bench",
    "bench-wide.json": "python -m lab.bench --width 256 --steps 6 --methods cot,colar,assorted "
                       "--backbones gpt",
    "bench-profile.json": "python -m lab.bench --profile cot --backbones gpt",
    "ratios-1.json": "python -m lab.ratios --base ../before --nanogpt ../nanoGPT --threads 1 "
                     "--rounds 2 --batches 12",
    "ratios-2.json": "python -m lab.ratios --base ../before --nanogpt ../nanoGPT --threads 2 "
                     "--rounds 2 --batches 12"}
OLD = ("commit 097c379 or before, whose block, optimizer and wording of the problems were others; "
       "they will be made anew")


# ---- what a page consists of ---------------------------------------------------------------------

def pages():
    """The pages that are filled in place; those without a marker stay as they are."""
    names = [*claims.ROOT.glob("*.md"), *claims.ROOT.glob("course/*.md"),
             *claims.ROOT.glob("docs/*.md"), *claims.RESULTS.glob("*.md")]
    return sorted(path for path in names if path.name not in ("CLAIMS.md", "timings.md"))


def blank(match):
    """Spaces in place of what was found, so that all else stays where it is."""
    return re.sub(r"[^\n]", " ", match[0])


def text_of(page):
    """A page without comments, commands and what markers fill; places stay."""
    return NO_TEXT.sub(blank, page)


def words(page):
    """How many words a page has, without comments and commands: tables count."""
    text = re.sub(r"<!--.*?-->|^```.*?^```$", "", page, flags=re.S | re.M)
    return sum(re.search(r"\w", word) is not None for word in text.split())


def sections(page):
    """(start, start of the block, end of the block) of each part of a page that has numbers."""
    start = 0
    for block in NUMBERS.finditer(page):
        yield start, block.start(), block.end()
        start = block.end()


def named_lines(block):
    """(what stands in the text, what it is) of the lines of a comment; BadInput if one has no
    " = "."""
    for line in filter(None, block.splitlines()):
        left, equals, right = line.partition(" = ")
        if not equals:
            raise BadInput(f"{line!r}: no ' = '")
        yield left, right


# ---- numbers in the text -------------------------------------------------------------------------

def renew_numbers(page, say):
    """The page with the numbers of its text as results/ have them. say(message): what is wrong."""
    changes = []        # (start, end, new)
    for start, stop, end in sections(page):
        text = text_of(page)[start:stop]
        for left, right in named_lines(NUMBERS.match(page, stop)[1]):
            if right.startswith("quoted: "):
                continue
            try:
                at = start + find_once(text, left)
                old = the_number(left)
                new = renewed(old, right, page[at:])
            except BadInput as error:
                say(str(error))
                continue
            where = re.compile(r"(?<![\w.=@/,-])" + flexible(old[0])).search(page, at)
            changes.append((*where.span(), new))
            line = page.index(f"\n{left} = {right}\n", stop) + 1
            changes.append((line + old.start(), line + old.end(), new))
    for start, end, new in sorted(set(changes), reverse=True):
        page = page[:start] + new + page[end:]
    return page


def flexible(phrase):
    """A pattern of a phrase that may go on in the next line."""
    return r"\s+".join(map(re.escape, phrase.split()))


def find_once(text, phrase):
    """Where a phrase begins in a text. BadInput unless it is there just once."""
    edge = r"(?<![\w.]){}(?!\w|\.\d)" if re.match(r"[\w+-]", phrase) else "{}(?!\\w|\\.\\d)"
    found = [match.start() for match in re.finditer(edge.format(flexible(phrase)), text)]
    if len(found) != 1:
        raise BadInput(f"{phrase!r} stands {len(found)} times in the text that it is a number of; "
                       "it must be there once: words beside it can be named, too")
    return found[0]


def the_number(phrase):
    """The one number of a phrase, as a match of NUMBER."""
    found = list(NUMBER.finditer(phrase))
    if len(found) != 1:
        raise BadInput(f"{phrase!r} has {len(found)} numbers, not one")
    return found[0]


def renewed(old, what, text):
    """What results/ have for `what`, written as the number `old` was. text: that of the page from
    the phrase on; a ratio before a percent sign is in %."""
    values = list(quantities.measure(what).values())
    mean, half = over_seeds(values)
    if " / " in what and re.match(flexible(old.string[:old.end()]) + "%", text):
        mean, half = 100 * mean, 100 * half
    sign, number, interval = old.groups()
    places = len(number.partition(".")[2])
    new = f"{round(mean, places) + 0.0:{'+' if sign else ''},.{places}f}"
    if interval and half != half:
        raise BadInput(f"{what!r}: one seed has no interval")
    return new + (f" ± {half:,.{places}f}" if interval else "")


def unnamed(page):
    """The numbers of a page's text with a decimal point, a percent sign or an interval that no line
    names: those that somebody typed."""
    found = []
    for start, stop, _ in [*sections(page), (last_end(page), len(page), len(page))]:
        block = NUMBERS.match(page, stop)
        phrases = [left for left, _ in named_lines(block[1])] if block else []
        text = text_of(page)[start:stop]
        named = {at for phrase in phrases for match in re.finditer(flexible(phrase), text)
                 for at in range(*match.span())}
        for match in NUMBER.finditer(NO_WORDS.sub(blank, text)):
            after = text[match.end():]
            if match.start() not in named and not after.startswith("% interval") and (
                    "." in match[0] or "±" in match[0] or after.startswith("%")):
                found.append(match[0])
    return found


def last_end(page):
    return max((end for _, _, end in sections(page)), default=0)


# ---- tables --------------------------------------------------------------------------------------

def renew_blocks(page, say):
    """The page with everything between markers as results/ and the files have it."""
    def fill(block):
        kind, told, old = block["kind"].strip(), block["told"].strip(), block["old"]
        try:
            new = FILL[kind](told, old, page, say)
        except BadInput as error:
            say(str(error))
            new = old
        return f"{page[block.start():block.start('old')]}{new.strip()}\n<!-- end -->"
    return BLOCK.sub(fill, page)


def chosen_table(told, old, page, say):
    """A table of chosen rows: what `told` says, see above."""
    head, *lines = told.splitlines()
    titles = head.split("; ")
    shown = [COLUMNS[t][0] if t in COLUMNS else t for t in titles]
    return markdown(shown, [row_cells(titles[1:], *line, say) for line in
                            named_lines("\n".join(lines))])


def row_cells(columns, name, told, say):
    """[name, cell, ...] of a row of a chosen table."""
    first, *others = told.split("; ")
    others = [re.sub(r"(?<!\S)~(?!\S)", lambda _: first, other) for other in others]
    if all(column not in COLUMNS for column in columns):
        others = [first, *others]
    cells = [name]
    for column in columns:
        try:
            if column in COLUMNS:
                cells.append(column_cell(first, column))
            elif not others:
                raise BadInput(f"{name!r}: nothing for the column {column!r}")
            else:
                cells.append(shown(others.pop(0)))
        except BadInput as error:
            say(str(error))
            cells.append("not run")
    return cells


def column_cell(ref, column):
    """One of COLUMNS of a row, as a mean over its seeds."""
    rows = list(quantities.rows(ref).values())
    if column == "seeds":
        return f"{len(rows)} x {min(row['n'] for row in rows)}"
    if column == "accuracy":
        return shown(ref)
    mean, _ = over_seeds(list(quantities.measure(f"{column} of {ref}").values()))
    return f"{mean:{COLUMNS[column][1]}}"


def shown(what):
    """A quantity as a cell: its mean and interval; of one seed's accuracy, that over problems."""
    if what == "-":
        return ""
    values = list(quantities.measure(what).values())
    mean, half = over_seeds(values)
    if " / " in what or ".json: " in what:
        return f"{mean:,.{0 if mean >= 1000 else 1 if mean >= 100 else 2}f}"
    sign = "+" if " | " in what else ""
    column = what.partition(" of ")[0]
    text = f"{mean:{COLUMNS.get(column, ('', None))[1] or sign + '.1f'}}"
    if len(values) > 1:
        return f"{text} ± {half:.1f}"
    if not sign and quantities.refs(what) == [what]:
        row, = quantities.rows(what).values()
        return f"{text} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
    return text


def whole_table(told, old, page, say):
    """All rows of the files that a pattern names."""
    return summary(sorted(claims.ROOT.glob(told)))


def counted_lines(told, old, page, say):
    """A table whose column "lines" has the lines of the files that its first cell names in
    backticks; of a line that names none, those of all above."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in old.strip().splitlines()]
    at = [cell.strip() for cell in rows[0]].index("lines") if rows else 0
    total = 0
    for row in rows[2:]:
        names = re.findall(r"`([^`]+)`", row[0])
        own = sum(map(quantities.count_lines, names))
        total += own
        row[at] = f" {own if names else total:,} "
    return "\n".join(f"|{'|'.join(row)}|" for row in rows)


# ---- what made the numbers -----------------------------------------------------------------------

def folders():
    """{path below results/: its files} of all folders that hold results."""
    found = {}
    for path in sorted(claims.RESULTS.rglob("*.json")):
        if path.parent != claims.RESULTS:
            name = path.parent.relative_to(claims.RESULTS).as_posix()
            found.setdefault(name, []).append(path)
    return found


def is_old(paths):
    """Were the runs of these files made before flags got today's names, which --grad-clip has?"""
    return any("grad_clip" not in one["config"] for path in paths for one in read_results(path))


def folders_of(page, known):
    """Those of the known folders that a page names its numbers from."""
    told = [block["told"] for block in BLOCK.finditer(page)] + NUMBERS.findall(page)
    names = {ref.split(": ")[0] for some in told for line in some.splitlines() if " = " in line
             for what in line.partition(" = ")[2].split("; ") for ref in quantities.refs(what)}
    names = {f"evidence/{name}" if name in RUNS else name for name in names}
    names |= {name for name in known for some in told if f"results/{name}/*.json" in some}
    return sorted(names & set(known))


def made(told, old, page, say):
    """Which code made the numbers of a page."""
    known = folders()
    names = folders_of(page, known)
    before = [f"`{name}`" for name in names if is_old(known[name])]
    since = [f"`{name}`" for name in names if not is_old(known[name])]
    if not before:
        return "*All numbers of this page are of today's code.*"
    if not since:
        text = f"All numbers of this page were made with {OLD}."
    else:
        text = (f"The numbers from {', '.join(before)} were made with {OLD}. Those from "
                f"{', '.join(since)} are of today's code.")
    return textwrap.fill(f"*{text}*", 118, break_on_hyphens=False)


def links(told, old, page, say):
    """Links to the pages that hold all rows."""
    kinds = {"today's code": [], "097c379 or before": []}
    for name, paths in folders().items():
        kinds["097c379 or before" if is_old(paths) else "today's code"].append(name)
    return "\n".join(f"- {kind}: " + ", ".join(f"[{name}]({name}/README.md)" for name in names)
                     for kind, names in kinds.items() if names)


FILL = {"table:": chosen_table, "lab.tables": whole_table, "lines": counted_lines, "made": made,
        "tables": links}


# ---- generated pages -----------------------------------------------------------------------------

def folder_page(name, paths, users):
    """README.md of a folder of results/: all of its rows. users: the pages that take some."""
    up = "../" * (name.count("/") + 1)
    read = ", ".join(f"[{page}]({up}{page})" for page in users)
    seeds = sorted({seed for row in claims.rows(name).values() for seed in row})
    parts = [f"# {name}: all rows", "",
             f"Written by `python -m lab.pages` from the {len(paths)} JSON files of this folder, "
             f"seeds {', '.join(map(str, seeds))}; `python -m lab.reproduce {name}` runs their "
             f"commands again. [How to read a table]({up}README.md#how-to-read-a-table)."
             + (f" Discussed in {read}." if read else ""), ""]
    if is_old(paths):
        parts += [f"Made with {OLD}.", ""]
    return "\n".join([*parts, summary(paths), ""])


def timings_page():
    """results/timings.md: what lab.bench and lab.ratios printed."""
    parts = ["# Timings in full", "", "Written by `python -m lab.pages` from the JSON files beside "
             "it, which the commands wrote (`--json`). [speed.md](speed.md) says what they show.",
             ""]
    for name, command in TIMINGS.items():
        path = claims.RESULTS / name
        if path.exists():
            found = read_json(path)
            report = ratios.report(found["rows"]) if "ratios" in name else bench.report(found)
            parts += [f"## {name}", "", "```", f"{command} --json results/{name}", "", report,
                      "```", ""]
    return "\n".join(parts)


def renewed_pages(say):
    """{path: text} of all pages, as results/ have their numbers; say(path, message): what is wrong
    with one."""
    new = {}
    for path in pages():
        def tell(message, path=path):
            say(path.relative_to(claims.ROOT).as_posix(), message)
        text = path.read_text(encoding="utf-8")
        new[path] = renew_numbers(renew_blocks(text, tell), tell)
    known = folders()
    taken = {path.name: folders_of(text, known) for path, text in new.items()
             if path.parent == claims.RESULTS}
    for name, paths in known.items():
        users = [page for page, names in taken.items() if name in names]
        new[claims.RESULTS / name / "README.md"] = folder_page(name, paths, users)
    new[claims.RESULTS / "timings.md"] = timings_page()
    return new


def main(argv=None):
    wrong = set()

    def say(page, message):
        if (page, message) not in wrong:
            print(f"{page}: {message}", file=sys.stderr)
        wrong.add((page, message))
    with one_line("lab.pages"):
        Parser("lab.pages", __doc__).parse(argv)
        new = renewed_pages(say)
        changed = [path for path, text in new.items()
                   if not path.exists() or path.read_text(encoding="utf-8") != text]
        for path in changed:
            write(path, new[path])
        drawn = [name for name in figures.FIGURES if figures.is_stale(name)]
        for name in drawn:
            figures.save(name, lambda message, name=name: say(f"figures/{name}.png", message))
        print(f"{len(new)} pages, {len(changed)} of them changed; {len(drawn)} figures drawn anew")
        if wrong:
            raise BadInput(f"{len(wrong)} not there or not clear, see above; all else is written")


if __name__ == "__main__":
    main()
