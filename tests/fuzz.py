"""A fuzzer: odd input for every script, which must be fine or refused in one line.

    python -m tests.fuzz                                # 20 cases of every row
    python -m tests.fuzz --only ckpt.pt --cases 200 --seed 7 --keep odd     # their folders: in odd/
    python -m tests.fuzz --tree ../older                # of another checkout of the project

A case is a folder with small trained runs, something odd in it, and a command line: the rows of
fuzz_rows.py make them, from a seed. It deviates if the script
    ends in a traceback or by a signal, or is still there after 60 s
    runs code that a file holds
    ends with another exit code than 0 (fine) or 2 (refused), or is fine with what must be refused
    refuses without a word, or in several lines
    removes a file of the folder, or changes one though it refuses, or leaves a .part
Every case has a process of its own, forked when all has been imported: that is fast, and no case
can harm the next one. It gets 4 GB of memory, so that huge numbers harm nobody else.
"""
import argparse
import hashlib
import json
import multiprocessing
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""     # before torch: a GPU does not survive the fork

from tqdm import tqdm

from tests.fuzz_rows import (EITHER, FINE, ROWS, RUNS, copy_results, enter, gsm8k_files, launch,
                             problem_files)

HANG = 60           # seconds
PATIENCE = 5        # seconds for a case that may run on: 10^18 steps are a wish like any other
MEMORY = 4 << 30    # bytes, beyond those at the start
TRACEBACK = "Traceback (most recent call last):"
FORK = "fork" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("fork" if FORK else "spawn")


# ---- the process of a case -----------------------------------------------------------------------

def child(tree, words, folder):
    """Runs a command line in folder/work; its output goes to files of `folder`."""
    if FORK:
        os.setsid()         # processes that it starts end with it
        limit_memory()
    else:
        enter(tree)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder / "work")
    launch(words[0], words[1:])


def limit_memory():
    import resource         # not on Windows
    pages = Path("/proc/self/statm")
    used = 0
    if pages.exists():
        used = int(pages.read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def run(tree, words, folder, limit):
    """Exit code (below 0: a signal; None: it had to be ended) and stderr, but for progress bars."""
    process = CONTEXT.Process(target=child, args=(tree, words, folder))
    process.start()
    try:
        process.join(limit)
    finally:
        hung = process.is_alive()
        end(process)
    text = (folder / "stderr").read_text(encoding="utf-8", errors="replace").replace("\x1b[A", "")
    lines = [line.split("\r")[-1] for line in text.split("\n")]
    lines = [line for line in lines if line.strip() and "%|" not in line]
    return None if hung else process.exitcode, lines


def end(process):
    """Ends a process and those that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL) if FORK else process.kill()
    except ProcessLookupError:
        pass
    process.join()


# ---- judgement -----------------------------------------------------------------------------------

def contents(folder):
    """{name: hash} of the files; a lock may come and go."""
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file() and "lock" not in path.name}


def judge(case, code, lines, before, after, tree):
    """The kind of a deviation, or None. code and lines: what `run` returns; before, after: what
    `contents` does."""
    script = case.words[0]
    if code is None:
        return None if case.endless else f"{script}: still there after {HANG} s"
    if code < 0:
        return f"{script}: ended by signal {-code}"
    if TRACEBACK in "\n".join(lines):
        return raised("\n".join(lines), tree)
    if code not in (0, 2):
        return f"{script}: exit code {code}"
    if code == 2 and len(lines) != 1:
        return f"{script}: refused in {len(lines)} lines"
    if case.expected != EITHER and (code == 0) != (case.expected == FINE):
        return f"{script}: {'refused' if code else 'accepted'}, but must be {case.expected}"
    lost = [name for name in before if name not in after or code and after[name] != before[name]]
    parts = [name for name in after if name.endswith(".part") and name not in before]
    if lost or parts:
        return f"{script}: lost or left behind {(lost + parts)[0]}"


def raised(text, tree):
    """The kind of a traceback: the exception, and the innermost function of the project."""
    block = text.rsplit(TRACEBACK, 1)[1]
    error = next((line for line in block.split("\n") if line[:1] not in ("", " ", "[")), "?")
    frames = re.findall(rf'File "{re.escape(str(tree))}/(.+?)", line \d+, in (\S+)', block)
    frames = [f"{file}, {name}" for file, name in frames if not file.startswith("tests/")]
    return f"{error.split(':')[0]} in {frames[-1] if frames else '?'}"


# ---- all cases -----------------------------------------------------------------------------------

def prepare(tree, folder):
    """Makes what every case finds in its folder: problems and trained runs, in folder/work."""
    work = folder / "work"
    for inner in ("gsm8k-files", "problems"):
        (work / inner).mkdir(parents=True)
    for name, text in gsm8k_files().items():
        (work / "gsm8k-files" / name).write_text(text, encoding="utf-8")
    for name, records in problem_files().items():
        (work / "problems" / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
    for command in tqdm(RUNS.values(), desc="prepare", unit="run"):
        code, lines = run(tree, command.split(), folder, 10 * HANG)
        if code != 0:
            sys.exit("\n".join([f"python {command}: exit code {code}", *lines]))


def try_case(tree, ready, row, number, seed, folder):
    """Makes and runs case `number` of a row in `folder`: its deviation as (kind, text), or None."""
    work = folder / "work"
    shutil.copytree(ready / "work", work)
    case = ROWS[row](random.Random(f"{seed}/{row}/{number}"), work)
    if case.words[0] == "claims":
        copy_results(work)
    before = contents(work)
    code, lines = run(tree, case.words, folder, PATIENCE if case.endless else HANG)
    kind = judge(case, code, lines, before, contents(work), tree)
    if (work / "executed").exists():
        kind = f"{case.words[0]}: has run code of a file"
    short = [w if len(w) < 80 else f"{w[:12]}...{len(w)} characters" for w in case.words]
    last = lines[-1] if lines else ""
    said = ascii(f"python {shlex.join(short)}")[1:-1], ascii(last)[1:200]    # for any terminal
    return kind and (kind, "\n        ".join([f"    {number}: {kind}", *said]))


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1],
                        help="the project to try [this one]")
    parser.add_argument("--seed", type=int, default=0, help="of the cases [0]")
    parser.add_argument("--only", action="append", metavar="ROW", choices=ROWS,
                        help=f"one of: {'; '.join(ROWS)} [all]")
    parser.add_argument("--cases", type=int, default=20, help="of each row [20]")
    parser.add_argument("--keep", type=Path, help="where to keep the folders of those that deviate")
    args = parser.parse_args()
    tree, rows, kinds = args.tree.resolve(), args.only or list(ROWS), Counter()
    keep = args.keep and args.keep.resolve()
    with tempfile.TemporaryDirectory(prefix="fuzz") as scratch, \
            tqdm(total=len(rows) * args.cases, unit="case", mininterval=10) as bar:
        enter(tree)
        ready = Path(scratch, "ready")
        prepare(tree, ready)
        for row in rows:
            found = []
            for number in range(args.cases):
                folder = Path(scratch, re.sub(r"\W+", "-", f"{row} {number}"))
                found.append(try_case(tree, ready, row, number, args.seed, folder))
                if found[-1] and keep:
                    shutil.copytree(folder, keep / folder.name)
                shutil.rmtree(folder)
                bar.update()
            found = [f for f in found if f]
            kinds.update(kind for kind, _ in found)
            bar.write("\n".join([f"{row:<28}{args.cases:>5} cases{len(found):>4} deviate",
                                 *(text for _, text in found)]))
    print(f"{kinds.total()} of {len(rows) * args.cases} cases deviate, kinds: {len(kinds)}")
    print("\n".join(f"{n:>5}  {kind}" for kind, n in kinds.most_common()))
    sys.exit(1 if kinds else 0)


if __name__ == "__main__":
    main()
