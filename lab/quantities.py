"""A number of results/ by its name: what "steps of default: colar c=2" stands for.

Pages and figures name their numbers, and never type them:

    FOLDER: NAME                accuracy, in %, of the row that has this name in results/FOLDER;
                                "NAME @2000" where rows of one name differ in their updates
    COLUMN of FOLDER: NAME      another of its numbers, as in "ms of default: cot"
    at 11,12 of FOLDER: NAME    accuracy, in %, on the problems of these difficulties
    FILE.json: KEY > KEY        a number of a JSON file in results/; of a list, the item that has
                                KEY as one of its values
    lines of FILE FILE          how many lines these files of the project have
    A | B                       A - B, paired by seed
    A / B                       A divided by B, paired by seed
"""
import json
import re

from data.cli import BadInput
from lab import claims

SHARES = ("accuracy", "low", "high", "decoded", "gain", "rebuilt", "mixed", "used", "same", "donor")
OF = re.compile(r"(?:(\w+)|at ([\d,]+)) of (.+)")


def measure(text):
    """Returns {seed: value} of what `text` names; shares are in %. The seed of a number that has
    none is 0. BadInput if there is no such row, column, key or file."""
    if " | " in text:
        return paired(text, *text.split(" | "), lambda a, b: a - b)
    if " / " in text:
        return paired(text, *text.split(" / "), lambda a, b: a / b)
    if text.startswith("lines of "):
        return {0: sum(map(count_lines, text.split()[2:]))}
    if ".json: " in text:
        return {0: inside(*text.split(": ", 1))}
    of = OF.fullmatch(text)
    column, levels, ref = of.groups() if of else (None, None, text)
    return {seed: value(row, column or "accuracy", levels, text)
            for seed, row in rows(ref).items()}


def paired(text, one, other, how):
    """{seed: how(a, b)} of the seeds that both have."""
    both = claims.paired(measure(one), measure(other), how)
    if not both:
        raise BadInput(f"{text!r}: no seed has both")
    return both


def rows(ref):
    """{seed: row} of the one row that has this name."""
    if ": " not in ref:
        raise BadInput(f"{ref!r} names nothing: FOLDER: NAME, see lab/quantities.py")
    found = claims.find(ref)
    if not found:
        raise BadInput(f"{ref!r}: not run yet")
    return found[0]


def value(row, column, levels, text):
    """A number of one row."""
    if levels:
        by = row.get("by_difficulty", {})
        some = [by[level] for level in levels.split(",") if level in by]
        if not some:
            raise BadInput(f"{text!r}: no problems of this difficulty")
        return 100 * sum(s["accuracy"] * s["n"] for s in some) / sum(s["n"] for s in some)
    if not isinstance(row.get(column), (int, float)):
        raise BadInput(f"{text!r}: its rows have no {column!r}")
    return row[column] * (100 if column in SHARES else 1)


def inside(name, keys):
    """The number at "key > key" of a JSON file in results/."""
    path, at = claims.RESULTS / name, None
    try:
        at = json.loads(path.read_text(encoding="utf-8"))
        for key in keys.split(" > "):
            at = at[key] if isinstance(at, dict) else next(o for o in at if key in o.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        at = None
    if not isinstance(at, (int, float)):
        raise BadInput(f"'{name}: {keys}' is no number of results/")
    return at


def count_lines(name):
    """Lines of a file, or of all Python files of a folder."""
    path = claims.ROOT / name
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise BadInput(f"{name}: no such file, so its lines cannot be counted")
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def refs(text):
    """The "FOLDER: NAME" in what names a number."""
    parts = [OF.sub(r"\3", part) for part in re.split(r" \| | / ", text)]
    return [part for part in parts if ": " in part and ".json: " not in part]
