r"""Fills the pages: their tables, numbers and line counts, from results/ and from the files.

    python -m lab.pages     # README.md, course/, docs/ and results/; and writes results/tables/

(results/CLAIMS.md is written by `python -m lab.claims`.) What a page wants is in its comments, each
at the start of a line. A row is named "FOLDER: NAME" or "FOLDER: NAME @UPDATES", by the folder of
results/ and what results/tables/FOLDER.md calls it.

A whole table, as `python -m lab.tables results/tiny/*.json` prints it:

    <!-- lab.tables results/tiny/*.json -->
    <!-- end -->

A table of some rows, each with a name of its own. Rows without a folder are of the one that the
first line names. A column is a key of lab.tables.TITLES, and may have a name of its own, too:

    <!-- table tiny: columns=method,accuracy,steps=model calls,seeds
    cot = written chain
    colar c=2 = CoLaR, two words a thought
    default: nocot @2000 = no chain
    -->
    <!-- end -->

Braces stand for a part of a row's name that differs from column to column:

    <!-- table controls: columns=method,accuracy{as thought}=own thoughts,accuracy{swap}=another's
    colar c=2 thoughts={} = CoLaR
    -->
    <!-- end -->

Speed, of results/ratios-1.json and -2.json, by the measures that they name:

    <!-- ratios
    cot tokens/s = training of CoT
    -->
    <!-- end -->

Numbers in the text: a comment at the end of the section or page lists them as they stand there, in
as many digits; the text itself has no marks. A number that has changed is changed in both places.

    <!-- numbers
    95.3 ± 10.3 = default: colar c=4
    16.0 = steps of default: colar c=2
    6.7 (5.4 to 8.1) = gsm8k: cot @12000
    +23.4 ± 23.0 = default: colar c=4 | default: nocot @2000
    -50.0 = steps of default: colar c=2 / default: cot
    -->

" | " is a difference and " / " a change in percent, both paired by seed. The text holds each number
as often as comments list it: once, unless two rows have the same one.

Lines of the files that the first column of a table names go into its second column:

    <!-- lines -->
    | file | lines | what it holds |
    |---|---|---|
    | `colar.py` | 0 | CoLaR |
"""
import json
import math
import re
import shlex
from pathlib import Path

from data.cli import BadInput, Parser, choice, one_line
from data.files import write
from lab import bench, ratios
from lab.claims import find, get, paired
from lab.reproduce import OLD, todays
from lab.tables import TITLES, markdown, mean_row, over_seeds, shown, summary

ROOT = Path(__file__).parents[1]
PAGES = "README.md", "course/*.md", "docs/*.md", "results/*.md"
NAMED = {**TITLES, "method": "method"}      # columns of a table of chosen rows
SHARES = ("accuracy", "gain", "decoded", "rebuilt", "mixed", "used", "same", "donor")   # of 1

FILLED = re.compile(r"^<!-- (lab\.tables|table|ratios)(.*?)-->\n(.*?)^<!-- end -->$", re.M | re.S)
NUMBERS = re.compile(r"^<!-- numbers\n(.*?)^-->$", re.M | re.S)
LINES = re.compile(r"^<!-- lines -->\n((?:\|.*\n)+)", re.M)
OPENED = re.compile(r"^<!-- (?:lab\.tables|table|ratios|numbers|lines)\b.*", re.M)
NO_PROSE = re.compile(r"<!--.*?-->|^```.*?^```$", re.M | re.S)
ONE = r"[+-]?\d[\d,]*(?:\.\d+)?"
FORM = re.compile(rf"({ONE})(?: ± {ONE}| \({ONE} to {ONE}\))?")


# ---- a page --------------------------------------------------------------------------------------

def pages():
    """{path: text} of all pages as they should be. BadInput, which names the page, for what cannot
    be filled."""
    found = {path: fill(path.read_text(encoding="utf-8"), path.relative_to(ROOT))
             for pattern in PAGES for path in sorted(ROOT.glob(pattern))}
    return found | table_pages()


def fill(text, page):
    """The text of a page, filled."""
    try:
        asked = len(OPENED.findall(text))
        if asked != sum(len(kind.findall(text)) for kind in (FILLED, NUMBERS, LINES)):
            raise BadInput("a comment is not closed, or without its <!-- end --> or table")
        text = FILLED.sub(filled, text)
        text = LINES.sub(counted, text)
        return renewed(text)
    except BadInput as error:
        raise BadInput(f"{page}: {error}") from None


def filled(match):
    """A comment of FILLED with its table, and its end."""
    kind, words, old = match.groups()
    if OPENED.search(old):
        raise BadInput(f"no <!-- end --> after <!-- {kind}{words.splitlines()[0]}")
    make = {"lab.tables": whole, "table": chosen, "ratios": speeds}[kind]
    return f"<!-- {kind}{words}-->\n{make(words)}\n<!-- end -->"


def whole(words):
    return summary(sorted(ROOT.glob(words.strip())))


# ---- tables of some rows -------------------------------------------------------------------------

def chosen(words):
    """The table of a comment "table FOLDER: columns=...", with a line "ROW = name" for each row."""
    head, *lines = words.strip().splitlines()
    match = re.fullmatch(r"([\w-]+): columns=(.+)", head)
    if not match or not lines:
        raise BadInput(f"no table 'FOLDER: columns=...' and rows below it: {head!r}")
    columns = [column(part) for part in match[2].split(",")]
    cells = []
    for ref, name in map(two, lines):
        ref = ref if ": " in ref else f"{match[1]}: {ref}"
        cells.append([name if key == "method" else shown(row(ref.replace("{}", change)), key)
                      for key, change, _ in columns])
    return markdown([title for *_, title in columns], cells)


def column(text):
    """"accuracy{swap}=another's" -> ("accuracy", "swap", "another's")"""
    key, change, title = re.fullmatch(r"(\w*)(?:\{(.*?)\})?(?:=(.*))?", text).groups()
    usual = choice(key, NAMED, "column")
    return key, change or "", title or usual


def two(line):
    """"one = other" -> (one, other)"""
    one, found, other = line.partition(" = ")
    if not found:
        raise BadInput(f"no ' = ' in {line!r}")
    return one.strip(), other.strip()


def row(ref):
    """The rows of a name, pooled over seeds."""
    return mean_row(list(seeds(ref).values()))


def seeds(ref):
    """{seed: row} of "FOLDER: NAME"."""
    if ": " not in ref:
        raise BadInput(f"{ref!r} names no folder of results/")
    found = find(ref)
    if len(found) != 1:
        raise BadInput(f"{ref!r}: {len(found)} rows, not one")
    return found[0]


def speeds(words):
    """The table of a comment "ratios", with a line "MEASURE = name" for each row."""
    by_threads = [{one["measure"]: one for one in read(f"ratios-{n}.json")["rows"]} for n in "12"]
    cells = []
    for measure, name in map(two, words.strip().splitlines()):
        found = [choice(measure, by, "measure") for by in by_threads]
        bound = "at most" if found[0]["most"] else "at least"
        target = found[0]["target"]
        cells.append([name, *(f"{one['ratio']:.2f}{VERDICT[one['met']]}" for one in found),
                      "" if target is None else f"{bound} {target:g}"])
    return markdown(["ratio", "one thread", "two threads", "target"], cells)


VERDICT = {None: "", True: "", False: ", missed"}


def read(name):
    return json.loads((ROOT / "results" / name).read_text(encoding="utf-8"))


# ---- numbers in the text -------------------------------------------------------------------------

def renewed(text):
    """A page whose numbers are those that its comments "numbers" name rows for."""
    lines = [two(line) for block in NUMBERS.findall(text) for line in block.splitlines()]
    prose, changes = FILLED.sub(blank, text), []
    prose = NO_PROSE.sub(blank, prose)
    for old in dict.fromkeys(old for old, _ in lines):
        wanted = [what for one, what in lines if one == old]
        places = [match.span() for match in standing(old).finditer(prose)]
        if len(places) != len(wanted):
            raise BadInput(f"{old!r} stands in the text {len(places)} times, "
                           f"in its comments {len(wanted)}")
        changes += [(place, old, what) for place, what in zip(places, wanted)]
    changes.sort()
    for (start, end), old, what in reversed(changes):
        text = text[:start] + number(what, old) + text[end:]
    order = {what: i for i, (_, _, what) in enumerate(changes)}

    def again(match):       # in the order of the text: two rows may have the same number by now
        listed = sorted(map(two, match[1].splitlines()), key=lambda line: order[line[1]])
        inside = "".join(f"{number(what, old)} = {what}\n" for old, what in listed)
        return f"<!-- numbers\n{inside}-->"
    return NUMBERS.sub(again, text)


def blank(match):
    """Spaces in place of a match: places in the text stay what they are."""
    return " " * len(match[0])


def standing(text):
    """Finds a number in prose, where it is no part of another one; lines may break in it."""
    inside = re.escape(text).replace(r"\ ", r"\s+")
    return re.compile(rf"(?<![\w.,=+-])(?<!±\s){inside}(?![\w]|[.,]\d|\s±|\s\([\d.+-]+ to)")


def number(what, form):
    """The number of "[COLUMN of ]ROW", "ROW | ROW" or "ROW / ROW" in the form of another one, as in
    "+3.1 ± 2.0", "93.0 (90.4 to 94.9)" or "16"."""
    match = FORM.fullmatch(form)
    if not match:
        raise BadInput(f"{form!r} is no number, as in '+3.1 ± 2.0', '93.0 (90.4 to 94.9)' or '16'")
    mean, low, high = measured(what)
    if form != match[1] and math.isnan(low):
        raise BadInput(f"{what!r} has one seed, so no interval")
    digits = len(match[1].partition(".")[2])
    sign = "+" if match[1][0] in "+-" else ""

    def text(value, sign=""):
        return f"{round(value, digits) + 0:{sign}.{digits}f}"       # + 0: no "-0.0"
    if "±" in form:
        return f"{text(mean, sign)} ± {text((high - low) / 2)}"
    if "(" in form:
        return f"{text(mean, sign)} ({text(low, sign)} to {text(high, sign)})"
    return text(mean, sign)


def measured(what):
    """(mean, low, high) of what `number` names, shares in percent; low and high are nan where there
    is one seed, unless it is an accuracy: then they are those of its problems."""
    match = re.fullmatch(r"(?:(\w+) of )?(.+?)(?: ([|/]) (.+))?", what)
    key, one, sign, other = match[1] or "accuracy", *match.groups()[1:]
    choice(key, TITLES, "column")
    for ref in filter(None, (one, other)):
        if any(key not in by for by in seeds(ref).values()):
            raise BadInput(f"{ref!r} has no {key}")
    scale = 100 if key in SHARES or sign == "/" else 1
    if sign is None and key == "accuracy":
        pooled = row(one)
        return tuple(scale * pooled[name] for name in ("accuracy", "low", "high"))
    values = get(one, key)
    if sign:
        values = paired(values, get(other, key), CHANGES[sign])
    if not values:
        raise BadInput(f"{what!r}: no seed is in both")
    mean, half = over_seeds(list(values.values()))
    return scale * mean, scale * (mean - half), scale * (mean + half)


CHANGES = {"|": lambda x, y: x - y, "/": lambda x, y: x / y - 1}


# ---- lines of files ------------------------------------------------------------------------------

def counted(match):
    """A table whose second column is the number of lines of the files that the first one names."""
    head, rule, *rows = match[1].splitlines()
    out = ["<!-- lines -->", head, rule]
    for line in rows:
        _, first, *rest = line.split("|")
        names = re.findall(r"`([^`]+)`", first)
        if not names or len(rest) < 2:
            raise BadInput(f"no file and number of lines in {line!r}")
        out.append("|".join(["", first, f" {sum(map(length, names)):,} ", *rest[1:]]))
    return "\n".join([*out, ""])


def length(name):
    """Lines of a file, or of all that a pattern like lab/*.py names."""
    paths = [path for path in ROOT.glob(name) if path.is_file()]
    if not paths:
        raise BadInput(f"{name}: no such file")
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


# ---- results/tables/ -----------------------------------------------------------------------------

FOLDERS = {     # of results/: what is in them
    "ablations": "CoLaR without one part of the recipe, seed 0",
    "assorted-maze": "Token Assorted on small mazes",
    "assorted-prosqa": "Token Assorted on ProsQA",
    "backbones": "Every method on the recurrent backbone",
    "before": "The default command of commit 097c379, seeds 3 to 7",
    "codes": "The codes of the VQ-VAE",
    "controls": "Thoughts that are changed, on arithmetic",
    "controls-prosqa": "Thoughts that are changed, on balanced ProsQA",
    "default": "CoLaR, CoT and no CoT on arithmetic",
    "depth": "Recurrent depth on permutations",
    "depth-answers": "Recurrent depth from answers alone",
    "depth-cache": "Iterations that share the cache, drafts and exits",
    "depth-chain": "Recurrent depth under a chain of thought",
    "depth-conv": "Recurrent depth without the convolution",
    "depth-exit": "Iterations that stop early",
    "depth-exit-long": "Iterations that stop early, on longer problems",
    "depth-long": "Recurrent depth on longer problems than any in training",
    "depth-prosqa": "Recurrent depth on ProsQA",
    "depth-s5": "Recurrent depth on permutations of five letters",
    "depth-switches": "What the failed runs of the paper do here",
    "depth-switches-long": "What the failed runs of the paper do here, on longer problems",
    "dial": "CoLaR at every speed, trained or not",
    "explore": "Samples of CoLaR's latents: the best of 1, 4 and 16",
    "feasible": "Mazes: the best of ten samples",
    "fresh": "The default command, seeds 3 to 7",
    "gsm8k": "GSM8K from scratch",
    "heads": "The ablations of the CoLaR paper",
    "latent": "iCoT, Coconut, CODI and pause tokens on arithmetic",
    "latent-prosqa": "Coconut, pause tokens, CoT and CoLaR on ProsQA",
    "maze": "CoLaR on small mazes",
    "mini": "The default command at size mini",
    "mixture": "Token Assorted: how many codes stand before the text",
    "ood-maze": "Mazes that need both keys",
    "ood-prosqa": "ProsQA with more hops or denser graphs",
    "prontoqa": "ProntoQA, which is not learned",
    "prosqa": "CoLaR on ProsQA",
    "random-order": "Statements in random order, today's recipe",
    "recipe": "The default command without one part of its recipe",
    "replace": "Token Assorted: which part of a chain gives way to codes",
    "rl": "CoLaR before and after reinforcement",
    "rl-auto": "CoLaR that chooses its speed",
    "rl-first": "Reinforcement without a KL penalty",
    "shuffled": "Statements in random order",
    "tiny": "The default command, and no CoT",
}
WRITTEN = "<!-- written by `python -m lab.pages` -->"


def table_pages():
    """{path: text} of results/tables/: a page for each folder of results/, two for speed, and an
    index of them."""
    results = ROOT / "results"
    files = {path.parent.name for path in results.glob("*/*.json")}
    pages = {name: folder_page(name) for name in sorted(files)}
    pages |= {"bench": speed_page("Speed of every method", bench.report, "bench*.json"),
              "ratios": speed_page("Speed beside commit 097c379 and nanoGPT", reported,
                                   "ratios-*.json")}
    index = [f"- [{name}]({name}.md): {text.splitlines()[2].removeprefix('# ')}"
             for name, text in pages.items()]
    pages["README"] = "\n".join([WRITTEN, "", "# All tables", "", INDEX, *index, ""])
    return {results / "tables" / f"{name}.md": text for name, text in pages.items()}


INDEX = """One page for each folder of `results/`. `python -m lab.pages` writes them.
Each shows a mean with its 95% interval over seeds (Student's t).
For a single run it is the interval over the problems of its test (Wilson).
A row's name is its method, the settings of its test and the flags that differ from the default.
`c=` is CoLaR's speed. `latents=` is a number of codes: 999 means codes only.
`r=` is a number of iterations. `k=` is a number of sampled answers.
*Updates* are those of the last stage.
The pages show each recorded command with the names that its flags have today.
Defaults have changed since commit 097c379, so older commands give other numbers now.
"""


def folder_page(name):
    """The page of a folder of results/: its table, and how it was made."""
    paths = sorted((ROOT / "results" / name).glob("*.json"))
    found = [one for path in paths for one in records(path)]
    commits = sorted({one["git"][:7] for one in found})
    seeds = sorted({one["config"]["seed"] for one in found})
    repeat = [f"python -m lab.reproduce {name}"] if name not in OLD else []
    commands = dict.fromkeys(any_seed(one["config"]["command"]) for one in found)
    return "\n".join([
        WRITTEN, "", f"# {choice(name, FOLDERS, 'folder of results/')}", "", summary(paths), "",
        f"{len(paths)} files in `results/{name}/`. Seeds: {listed(seeds)}. "
        f"Commits: {listed(commits)}.",
        *([] if repeat else ["Older code made them, so today's commands cannot repeat them."]), "",
        "```", f"python -m lab.tables results/{name}/*.json", *repeat, "```", "",
        "The recorded commands. S is the seed:", "", "```", *commands, "```", ""])


def records(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, list) else [found]


def any_seed(command):
    """A recorded command in today's names, with S in place of its seed."""
    script, argv = todays(command)
    text = shlex.join(["python", *script, *argv])
    return re.sub(r"(--seed |-s)\d+\b", r"\1S", text)


def listed(values):
    return ", ".join(map(str, values))


def speed_page(title, report, pattern):
    """A page with what a script printed when it wrote the files of a pattern."""
    out = [WRITTEN, "", f"# {title}", ""]
    for path in sorted((ROOT / "results").glob(pattern)):
        out += [f"`results/{path.name}`:", "", "```", report(read(path.name)), "```", ""]
    return "\n".join(out)


def reported(found):
    return ratios.report(found["rows"])


# ---- the script ----------------------------------------------------------------------------------

def main(argv=None):
    parser = Parser("lab.pages", __doc__)
    with one_line("lab.pages"):
        parser.parse(argv)
        new = {path: text for path, text in pages().items()
               if not path.exists() or path.read_text(encoding="utf-8") != text}
        (ROOT / "results/tables").mkdir(parents=True, exist_ok=True)
        for path, text in new.items():
            write(path, text)
            print(path.relative_to(ROOT))
        print(f"{len(new)} pages changed")


if __name__ == "__main__":
    main()
