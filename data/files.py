"""Files that appear whole or not at all, and a folder for one process alone.

Whatever stops a run, a kill or a full disk, its folder holds good files: the last ones that were
finished. What cannot be written is said in one line.
"""
import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from pathlib import Path

from data.cli import BadInput

try:
    import fcntl
except ImportError:     # Windows
    fcntl = None
    import msvcrt

PART = ".part"      # ends the name of a file that is being written


class NotWritten(BadInput):
    """A file that could not be written: the disk is full, the folder read-only ..."""

    def __init__(self, path, error):
        missing = isinstance(error, FileNotFoundError)
        super().__init__(f"{path}: {'no such folder' if missing else reason(error)}")


def reason(error):
    """Why the system refused something, in short."""
    return getattr(error, "strerror", None) or str(error)


# ---- whole files ---------------------------------------------------------------------------------

def write(path, content):
    """Writes a file of text or bytes: a reader, or a program killed halfway, finds the old one or
    the new. NotWritten if it cannot be; the old one stays."""
    target = Path(os.path.realpath(path))       # not the link that leads to it
    part = part_of(target)
    try:
        with open(part, "wb") as file:
            text = isinstance(content, str)
            file.write(content.encode(errors="backslashreplace") if text else content)
            file.flush()
            os.fsync(file.fileno())     # else a power cut may keep the name without the content
        os.replace(part, target)
    except OSError as error:
        raise NotWritten(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(part)             # of what failed; else it has its name by now


def part_of(path):
    """Where a file is written until it is whole: beside it. Names have at most 255 bytes."""
    name = path.name
    while len(os.fsencode(name)) + len(PART) > 255:
        name = name[:-1]
    return path.with_name(name + PART)


def writable(path, flag=""):
    """NotWritten unless a file can be written there: said before the work, not after it. flag: what
    named the path."""
    target = Path(os.path.realpath(path))
    try:
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(target).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, "is a folder")
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "is no file that could be replaced")
        part = part_of(target)
        open(part, "ab").close()
        os.remove(part)
    except OSError as error:
        raise NotWritten(f"{flag} {path}".strip(), error) from None


def can_draw(path):
    """BadInput unless `draw` can write a figure there."""
    if Path(path).suffix not in (".png", ".pdf", ".svg"):
        raise BadInput(f"--plot {path}: must end in .png, .pdf or .svg")
    writable(path)


def draw(figure, path):
    """Writes a figure of matplotlib; how its name ends says in which format."""
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix[1:], dpi=150)
    write(path, picture.getvalue())


def read_json(path):
    """What a JSON file holds. BadInput if it is missing, damaged or nested without end."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {reason(error)}") from None
    except (ValueError, RecursionError):
        raise BadInput(f"{path}: damaged, or not JSON") from None


# ---- the log of a run ----------------------------------------------------------------------------

class Log:
    """log.jsonl: a row a line, {"step": 50, "loss": number, ...} of means over the steps since the
    last one, or {"step": 50, "val": [rows of eval]}.
    """

    def __init__(self, path, step=0):
        """Opens the log of a run that stands at `step`, and removes what was written after that.
        path None: nothing is logged."""
        self.path, self.file = path, None
        if path is None:
            return
        lines = read_lines(path)
        kept = [line for line in lines if (row := read_row(line)) and row["step"] <= step]
        if kept != lines:
            write(path, b"".join(kept))
            print(f"{path}: {len(lines) - len(kept)} lines are gone, damaged or after step {step}")
        try:
            self.file = open(path, "ab", buffering=0)   # a line is there when it has been written
        except OSError as error:
            raise NotWritten(path, error) from None

    def write(self, **row):
        """Adds a line, or none: NotWritten if there is no space for all of it."""
        if self.file is None:
            return
        line, end = (json.dumps(row) + "\n").encode(), self.file.tell()
        try:
            if self.file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):
                self.file.truncate(end)
            raise NotWritten(self.path, error) from None

    def close(self):
        if self.file is not None:
            self.file.close()


def read_log(path):
    """The rows of a log.jsonl; a line that holds none is passed over."""
    return [row for row in map(read_row, read_lines(path)) if row]


def read_lines(path):
    try:
        return Path(path).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadInput(f"{path}: {reason(error)}") from None


def read_row(line):
    """The row of a line of a log; None if it holds none, or is only half a line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if line.endswith(b"\n") and is_row(row) else None


def is_row(row):
    """Has it a step, and else only numbers, or rows of eval under "val"?"""
    if not isinstance(row, dict) or "step" not in row:
        return False
    val = row.get("val", [])
    if not isinstance(val, list) or not all(isinstance(v, dict) for v in val):
        return False
    if not all(isinstance(v.get("knobs"), dict) for v in val):
        return False
    numbers = [value for name, value in row.items() if name != "val"]
    numbers += [v.get(key) for v in val for key in ("accuracy", "steps")]
    return all(map(is_number, numbers))


def is_number(value):
    """Is it a number as JSON holds them for us? nan and inf are; 10^400 fits nowhere."""
    return type(value) is float or type(value) is int and abs(value) < 2**63


# ---- one process ---------------------------------------------------------------------------------

@contextlib.contextmanager
def locked(folder):
    """Keeps a folder to this process: BadInput if another one has it. The system frees what a dead
    process held."""
    try:
        file = open(Path(folder) / ".lock", "ab")
    except OSError as error:
        raise NotWritten(folder, error) from None
    with file:
        try:
            if fcntl:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)    # unlike flock's, not inherited
            else:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:        # of another kind: the file system knows no locks
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise BadInput(f"{folder}: another process is at work there") from None
        yield


def digest(path):
    """The SHA-256 of a file's bytes, as text."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
