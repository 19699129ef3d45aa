"""Homework out of this project: functions without their bodies, and tests that grade them.

    python course/homework.py make --list                                 # the exercises
    python course/homework.py make colar.merge rl.advantages --out HW     # a copy without the two
    python course/homework.py grade HW                                    # exits 1 while one fails

`make` copies the files that git knows, without results/. An exercise keeps its signature and its
docstring. `grade` runs only the tests that grade its exercises, as they are in HW; inside HW it
needs no folder.
"""
import ast
import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))       # for `python course/homework.py`

from course.exercises import EXERCISES
from data.cli import BadInput, Parser, choice, named, one_line
from data.files import reason

REMEMBERED = "homework.json"        # in HW: the names of its exercises
BLANK = 'raise NotImplementedError("exercise")'
GENERAL = "compare the docstring and the equation at the top of the file with the loop of the test"
NO_END = "no end after five minutes"
BUSY = "does a loop never end? If not, the machine is busy: grade again"


# ---- the source of a function --------------------------------------------------------------------

def file_of(name):
    """"lab.controls.donors" -> "lab/controls.py", ["donors"]: what to look for in which file."""
    parts = name.split(".")
    n = 2 if parts[0] in ("data", "lab") else 1
    return "/".join(parts[:n]) + ".py", parts[n:]


def body_of(source, path):
    """(first, end, indent): lines [first:end] of a source are the body of a function, without its
    docstring. path: its class, if it has one, and its name. SyntaxError as of Python; BadInput if
    there is no such function."""
    node = ast.parse(source)
    for part in path:
        node = next((n for n in reversed(node.body)      # the last one counts, as in Python
                     if getattr(n, "name", "") == part), None)
        if node is None:
            raise BadInput(f"there is no {'.'.join(path)} any more")
    body = node.body
    if ast.get_docstring(node) is None or len(body) == 1:
        first = body[0].lineno - 1
    else:
        first = body[0].end_lineno      # comments after a docstring belong to the body
    return first, node.end_lineno, body[0].col_offset


def blanked(source, path):
    """A source without the body of one function."""
    first, end, indent = body_of(source, path)
    lines = source.splitlines(keepends=True)
    return "".join([*lines[:first], " " * indent + BLANK + "\n", *lines[end:]])


# ---- make ----------------------------------------------------------------------------------------

def make(names, out):
    """Copies the project to the folder `out`, with these exercises blank."""
    for name in names:
        choice(name, EXERCISES, "exercise")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out}: it is there already, and not empty")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True,
                            encoding="utf-8")
    files = [f for f in listed.stdout.split("\0") if f and not f.startswith("results/")]
    if not files:
        raise BadInput(f"{ROOT}: git knows no files there; homework is made from a clone")
    for file in files:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, out / file)
    for name in names:
        file, path = file_of(name)
        source = blanked((out / file).read_text(encoding="utf-8"), path)
        (out / file).write_text(source, encoding="utf-8")
        print(f"{name}: {EXERCISES[name].task}, in {out / file}")
    (out / REMEMBERED).write_text(json.dumps(names), encoding="utf-8")
    print(f"grade it: python course/homework.py grade {out}")


# ---- grade ---------------------------------------------------------------------------------------

def run_tests(folder, tests):
    """Runs tests in a folder. Returns {test: the message of its failure} of those that fail; of a
    file that cannot even be imported, its name alone."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   f"--junitxml={report}", *tests]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True,
                                  encoding="utf-8", timeout=300)
        except subprocess.TimeoutExpired:
            return dict.fromkeys(tests, NO_END)
        cases = ElementTree.parse(report).iter("testcase") if report.exists() else []
        failed, ran = {}, set()
        for case in cases:
            test = f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}".split("[")[0]
            ran.add(test)
            for bad in [*case.findall("failure"), *case.findall("error")]:
                message = bad.get("message").split("\nassert ")[0]  # of a test's own words
                failed.setdefault(test, textwrap.shorten(message, 200))
    failed = {test: message for test, message in failed.items() if test in tests}
    lines = (done.stdout + done.stderr).strip().splitlines()
    said = [line for line in lines if line.startswith("E ")] or lines or ["pytest said nothing"]
    return failed | {test.split("::")[0]: said[-1] for test in tests if test not in ran}


def hints(exercise, failed):
    """Those of the mistakes that fail the same tests; else a general one. Tests that did not end
    tell nothing but that."""
    if NO_END in failed.values():
        return [BUSY]
    return [m.hint for m in exercise.mistakes if set(m.fails) == set(failed)] or [GENERAL]


def judge(folder, name, unsolved):
    """The lines that tell what is wrong with an exercise; [] if it is solved."""
    exercise, (file, path) = EXERCISES[name], file_of(name)
    try:
        source = (folder / file).read_text(encoding="utf-8")
        first, end, _ = body_of(source, path)
    except SyntaxError as error:
        return [f"{file}, line {error.lineno or 1}: {error.msg}"]
    except (ValueError, OSError, RecursionError, MemoryError) as error:     # no text, no file ...
        return [f"{file}: {reason(error)}"]
    if any(line.strip() == BLANK for line in source.splitlines()[first:end]):
        return ["still blank"]
    first = [other for other in exercise.needs if other in unsolved]
    if first:
        return [f"first solve {', '.join(first)}"]
    failed = run_tests(folder, exercise.graders)
    lines = [f"{test}: {message}" for test, message in failed.items()]
    return lines + [f"hint: {hint}" for hint in hints(exercise, failed)] if failed else []


def grade(folder):
    """Prints what is solved in a folder that `make` made. Returns what is not."""
    try:
        names = json.loads((folder / REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{folder}: no homework; `make` writes its {REMEMBERED}") from None
    if not isinstance(names, list) or not names or any(name not in list(EXERCISES)
                                                       for name in names):
        raise BadInput(f"{folder / REMEMBERED}: damaged; it is a list of exercises")
    unsolved = []
    for name in EXERCISES:              # in order of dependency
        if name in names:
            wrong = judge(folder, name, unsolved)
            unsolved += [name] if wrong else []
            print(f"{name}: {'not yet' if wrong else 'ok'}")
            print("".join(f"    {line}\n" for line in wrong), end="", flush=True)
    return unsolved


def main(argv=None):
    parser = Parser("course/homework.py", __doc__)
    parser.add_argument("what", help="make, or grade")
    parser.add_argument("names", nargs="*", help="make: exercises; grade: the folder [this one]")
    parser.add_argument("--out", type=named, metavar="HW", help="make: the folder of the copy")
    parser.add_argument("--list", action="store_true", help="make: list the exercises, and stop")
    with one_line("course/homework.py"):
        given = parser.parse(argv)
        names = given["names"]
        if choice(given["what"], ("make", "grade"), "command") == "grade":
            if len(names) > 1 or given["out"] or given["list"]:
                raise BadInput("grade takes one folder, and nothing else")
            sys.exit(1 if grade(Path(*names or ["."])) else 0)
        if given["list"]:
            print("\n".join(f"{name:26}{one.task}" for name, one in EXERCISES.items()))
        elif not names or not given["out"]:
            raise BadInput("make needs exercises and --out HW; --list names them")
        else:
            make(list(dict.fromkeys(names)), Path(given["out"]))


if __name__ == "__main__":
    main()
