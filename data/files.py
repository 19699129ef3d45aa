"""Files that appear whole or not at all, whatever ends the program: a kill, or a full disk.

What cannot be written is said in one line (BadInput), and what was there before stays.
"""
import contextlib
import errno
import io
import json
import os
from pathlib import Path

from data.cli import BadInput

try:
    import fcntl
except ImportError:     # Windows
    import msvcrt


def reason(error):
    """Why a file could not be read or written, in short."""
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def part_of(path):
    """Where a file is written before it takes its place: beside it, with a name that is no longer
    than names may be."""
    return path.with_name(f"{path.name[:60]}.part")


def write(path, content):
    """Writes a file. content: text, bytes, or a function that writes into an open binary file."""
    path = Path(path)
    part = part_of(path)
    try:
        with open(part, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())     # on the disk before it takes the old one's place
        os.replace(part, path)
    except (OSError, RuntimeError) as error:        # RuntimeError: of torch.save
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise BadInput(f"{path}: could not be written ({reason(error)}); what was there before is "
                       "kept") from None


def writable(path):
    """BadInput if a file could not be written there: asked before the work, not after it."""
    path = Path(path)
    try:
        if path.is_dir():
            why = "is a folder, not a file"
        elif not path.absolute().parent.is_dir():
            why = "no such folder"
        else:
            part = part_of(path)
            part.touch()
            part.unlink()
            path.exists()       # its name may be too long
            return
    except (OSError, ValueError) as error:
        why = f"cannot be written ({reason(error)})"
    raise BadInput(f"{path}: {why}")


def draw(figure, path):
    """Writes a matplotlib figure, in the format that the name ends in."""
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix[1:], dpi=150)
    write(path, picture.getvalue())


def read_json(path):
    """What a JSON file holds. BadInput if it is missing, damaged or nested without end."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else "damaged, or not JSON"
        raise BadInput(f"{path}: {why}") from None


@contextlib.contextmanager
def locked(folder):
    """Keeps a folder to this process: BadInput if another one has it.

    The system frees the lock of a process that has ended, in whatever way.
    """
    try:
        file = open(Path(folder) / ".lock", "ab")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({reason(error)})") from None
    with file:
        try:
            if os.name == "nt":
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:       # lockf, not flock: what is forked, the workers, does not hold it
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(f"{folder}: another process is at work there") from None
        yield


class Log:
    """log.jsonl: a row of JSON on each line. A row is there as a whole or not at all."""

    def __init__(self, path, step=0):
        """Opens it to go on after `step`: what was logged later, or is damaged, goes. None: no
        log."""
        self.file = None
        if path is None:
            return
        self.path = Path(path)
        kept = [row for row in read_log(self.path) if row["step"] <= step]
        write(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self.file = open(self.path, "ab", buffering=0)

    def write(self, **row):
        """Adds a row; it can be read at once, so that a run can be followed."""
        if self.file is None:
            return
        before, line = self.file.tell(), (json.dumps(row) + "\n").encode()
        try:
            if self.file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(OSError):
                self.file.truncate(before)
            raise BadInput(f"{self.path}: could not be written ({reason(error)})") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.file is not None:
            self.file.close()


def read_log(path):
    """The rows of a log.jsonl that are whole: dicts with a "step"."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadInput(f"{path}: {reason(error)}") from None
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                rows.append(row)
    return rows
