"""The official files of GSM8K: their download, and what of them is train, val and test.

    a line of       {"question": "Natalia sold clips to 48 of her friends in April, and then she
    train.jsonl       sold half as many clips in May. How many clips did Natalia sell ...?",
                     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\\nNatalia sold 48+24
                       = <<48+24=72>>72 clips altogether in April and May.\\n#### 72"}

    its problem     ("Natalia sold clips to 48 of her friends ...", ("48/2=24", "48+24=72"), "72")
    its bare text   natalia sold clips to # of her friends in april, and then she sold half as ...

`fetch` copies or downloads a file; one whose SHA-256 is not the official one is refused. `official`
divides the problems: test is the official one. val is one in HOLD of the official training file, by
a hash of the bare text; train is the rest, without what is in test but for numbers. `solutions` are
the written ones of the training file, and `official_asked` are the questions that their sentences
answer (data/stories.py). `extra_problems` reads other files, in all formats of data/formats.py.

    problems    train 6,967, val 506, test 1,319; none is left out for being in test
    asked       11,892 more questions, of the training problems
"""
import functools
import hashlib
import http.client
import os
import urllib.request
import zlib
from pathlib import Path

from data.cli import BadInput
from data.files import digest, reason, write
from data.formats import load, records
from data.records import summary
from data.resample import NUMBER
from data.stories import asked

FOLDER = Path(__file__).parent / "download"
URL = ("https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data/")
SHA256 = {"train.jsonl": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
          "test.jsonl": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"}
HOLD = 15       # one of so many training problems is for validation


# ---- files ---------------------------------------------------------------------------------------

def fetch(name, folder=None, source=None, url=URL):
    """The official file `name` in `folder`: copied from `source`, else there already or downloaded.

    BadInput if a `source` does not have it, whatever is in `folder`; without a network; or if it is
    not the official file. A download that breaks off goes on where it stopped; the file appears
    whole or not at all.
    """
    folder = folder or FOLDER
    path, part = folder / name, folder / (name + ".part")
    if source:
        try:
            content = (Path(source) / name).read_bytes()
        except OSError as error:
            raise BadInput(f"--from {source}: cannot read {name} ({reason(error)})") from None
        if hashlib.sha256(content).hexdigest() != SHA256[name]:
            raise BadInput(f"--from {source}: {name} is not the official file: other SHA-256")
        folder.mkdir(parents=True, exist_ok=True)
        write(path, content)
        return path
    if path.exists() and digest(path) == SHA256[name]:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not part.exists() or digest(part) != SHA256[name]:
            download(url + name, part)
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "code", 0) == 416:    # there is no more: what is there is no part of it
            part.unlink()
        raise BadInput(f"{url}: cannot get {name} ({error}); run again to continue, or give --from "
                       "DIR with the files") from None
    if digest(part) != SHA256[name]:
        part.unlink()
        raise BadInput(f"{name} from {url} is not the official file: other SHA-256")
    os.replace(part, path)
    return path


def download(url, part):
    """Writes what is missing of a file."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        with open(part, "ab" if answer.status == 206 else "wb") as out:     # 206: only the rest
            while block := answer.read(1 << 16):
                out.write(block)
        if answer.length:
            raise OSError(f"broken off {answer.length} bytes before its end")


# ---- problems ------------------------------------------------------------------------------------

def problems_of(path):
    """All problems of a file: [(question, equations, answer)]."""
    return [parsed.problem for _, parsed in load(path)[0]]


def bare(question):
    """A question without its numbers: what makes two problems the same."""
    return " ".join(NUMBER.sub("#", question.lower()).split())


@functools.cache
def official():
    """The problems of every split, from the official files."""
    missing = [name for name in SHA256 if not (FOLDER / name).exists()]
    if missing:
        raise BadInput(f"{FOLDER / missing[0]} is not there: python data/gsm8k.py downloads it")
    known, test = (problems_of(FOLDER / name) for name in SHA256)
    taken = {bare(question) for question, _, _ in test}
    split = {"train": [], "val": [], "test": test}
    for p in known:
        key = bare(p[0])
        if key not in taken:
            split["val" if zlib.crc32(key.encode()) % HOLD == 0 else "train"].append(p)
    return split


@functools.cache
def solutions():
    """{question: its written solution} of the official training file."""
    rows = records((FOLDER / "train.jsonl").read_text(encoding="utf-8"))
    return {row["question"]: row["answer"] for row in rows}


@functools.cache
def official_asked():
    """The problems that the solutions of the training problems ask (data/stories.py)."""
    return [problem for question, _, _ in official()["train"]
            for problem in asked(question, solutions()[question])]


def extra_problems(path, held, unfit=lambda problem: ""):
    """Those of a file that may be trained on; prints one line on the others.

    A problem without a chain would teach to write none. held: the bare questions of val and test;
    unfit: what else is wrong with a problem, "" if nothing is.
    """
    found, remarks = load(path)
    kept = {}       # in place of a list: a problem that comes again is the same key
    for i, parsed in found:
        remarks += [(i, remark) for remark in parsed.remarks]
        if parsed.no_chain:
            continue
        if parsed.problem in kept:
            remarks.append((i, "left out: the same as an earlier one"))
        elif bare(parsed.problem[0]) in held:
            remarks.append((i, "left out: in the validation or test set, but for the numbers"))
        elif why := unfit(parsed.problem):
            remarks.append((i, f"left out: {why}"))
        else:
            kept[parsed.problem] = None
    print(summary(f"--extra {path}: {len(kept)} of {len(found)} problems to train on", remarks))
    return [*kept]
