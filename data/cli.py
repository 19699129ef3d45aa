"""Command lines: flags with their bounds, and bad input in one clear line.

Whoever needs a setting declares it, bounds included:

    FLAGS = {"pauses": Flag(16, "number of <pause> tokens", least=1)}

and every command line that offers it is made from that declaration (`Parser.add_flags`). It also
says where the setting has no effect: who gives it there is told so in a line, and nothing else
happens, since a command for several methods may well hold flags of one of them.

    FLAGS = {"stages": Flag(3, "K of --curriculum steps", idle=unless(curriculum=["steps"]))}
"""
import argparse
import contextlib
import difflib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass


class BadInput(ValueError):
    """The user's input is wrong: scripts print its one line and exit with code 2."""


@contextlib.contextmanager
def one_line(script, quiet=False):
    """Says in one line what stopped a script, and exits with code 2: its input, a file that the
    system refuses, or too little memory for what was asked. After Ctrl-C the code is 130."""
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            print(f"{script}: stopped", file=sys.stderr, flush=True)
        sys.exit(130)
    except (BadInput, FloatingPointError) as error:
        message = str(error)
    except BrokenPipeError:     # nobody reads on, as in `| head`: no traceback at the end, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        message = f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    except (MemoryError, RuntimeError) as error:
        words = "allocate memory", "out of memory", "bad alloc", "bad_alloc", "start new thread"
        if not isinstance(error, MemoryError) and not any(w in str(error) for w in words):
            raise
        message = "not enough memory for this: a smaller --batch, --width or --samples takes less"
    else:
        return
    if not quiet:
        print(f"{script}: {message}".replace("\n", " "), file=sys.stderr, flush=True)
    sys.exit(2)


def choice(value, known, what):
    """known[value], or value if known is no dict; BadInput with the nearest match if unknown."""
    if value not in list(known):        # a list: whatever a file holds can be looked for
        close = difflib.get_close_matches(str(value), list(known), 1)
        hint = f"nearest: {close[0]}" if close else f"known: {', '.join(known)}"
        raise BadInput(f"unknown {what} {value!r} ({hint})")
    return known[value] if isinstance(known, dict) else value


@dataclass
class Flag:
    """A setting: its default, its help, and what it may be.

    default     its value unless given. A bool makes --name and --no-name
    choices     the only values allowed; a dict's are its keys, whatever it holds by then
    least, most bounds of a number, themselves allowed
    above       a bound of a number that is itself not allowed
    words       what may stand in a number's place, as in --c auto
    kind        the type of the value; None: that of the default
    idle        all settings, a dict -> why this one has no effect there; "": it has
    """
    default: object
    help: str
    choices: tuple | dict = ()
    least: float = 0
    most: float = 2**31 - 1
    above: float = None
    words: tuple = ()
    kind: type = None
    idle: Callable = lambda settings: ""

    def __post_init__(self):
        self.kind = self.kind or type(self.default)

    def holds(self, value):
        """Is it of the type of this flag's values, or one of its words?"""
        kinds = (int, float) if self.kind is float else self.kind
        return isinstance(value, kinds) or value in self.words

    def read(self, text):
        """Returns the value that a text stands for."""
        if text in self.words:
            return text
        try:
            return self.kind(text)
        except ValueError:
            kind = "whole number" if self.kind is int else "number"
            kinds = ", nor ".join([kind, *self.words])
            raise argparse.ArgumentTypeError(f"{shortened(repr(text))} is no {kinds}") from None

    def check(self, name, value):
        """BadInput unless `value` is allowed."""
        option = f"--{name.replace('_', '-')}"
        if self.choices:
            choice(value, self.choices, option)
        if type(value) not in (int, float):
            return
        if self.above is not None and not value > self.above:   # not <=: nan is refused, too
            bound = f"above {self.above:.10g}"
        elif not value >= self.least:
            bound = f"at least {self.least:.10g}"
        elif not value <= self.most:
            bound = f"at most {self.most:.10g}"
        else:
            return
        raise BadInput(f"{option} {shortened(str(value))}: must be {bound}")


def shortened(text):
    """Returns a text as a line can quote it: without the middle if it is long."""
    return text if len(text) <= 40 else f"{text[:20]}...{text[-10:]}"


def named(text):
    """Returns a text that names a file or folder, for argparse; an empty one names none."""
    if not text:
        raise argparse.ArgumentTypeError("'' names nothing")
    return text


def unless(**others):
    """Flag.idle of a flag that has an effect only where each of the others, {name: values}, has one
    of these values."""
    def idle(settings):
        wrong = [spelled(name, settings[name]) for name, values in others.items()
                 if name in settings and settings[name] not in values]
        return f"with {' '.join(wrong)}" if wrong else ""
    return idle


DRAWN = unless(data=[""])       # of flags that say how problems are drawn: those of a file are not


def spelled(name, value):
    """A flag as a command line has it, its value in short."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    value = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"--{option} {shortened(value)}" if value else f"no --{option}"


def merge(owners):
    """{flag: Flag} of several owners, {owner: its flags}. ValueError if two declare one name."""
    flags, owner_of = {}, {}
    for owner, own in owners.items():
        for name, flag in own.items():
            if name in flags:
                raise ValueError(f"--{name}: declared by {owner_of[name]} and by {owner}")
            flags[name], owner_of[name] = flag, owner
    return flags


def options(flags, config):
    """["--flag value"] of those of the flags that a config has at another value than the default.
    """
    words = []
    for name, flag in flags.items():
        value, option = config[name], name.replace("_", "-")
        if value is None or value == flag.default:
            continue
        if flag.kind is bool:
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option} {value}")
    return words


def must_match(config, other, names, message):
    """BadInput unless two configs agree in these settings. Of files what they hold counts, and not
    where they are."""
    for name in names:
        mine, its = config.get(name), other.get(name)
        now, then = (c.get(f"{name}_sha256") for c in (config, other))
        if (now != then) if now and then else (mine != its):
            if mine == its:
                its, mine = f"{its} as it was then", "as it is now"
            raise BadInput(f"{message} {name.replace('_', '-')} {its}, not {mine}")


class Parser(argparse.ArgumentParser):
    """argparse that answers bad input with one line, the nearest match in it, and exit code 2.

    Every script makes one at its start. From then on what it prints may hold any name of a file,
    and any character: what the encoding of its output lacks appears as \\xff or \\udcff.
    """

    def __init__(self, prog, description, tell=print):
        """tell: called with a line for each flag that is given and has no effect."""
        super().__init__(prog=prog, description=description, allow_abbrev=False, add_help=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
        self.flags, self.lists, self.tell = {}, set(), tell
        if hasattr(sys.stdout, "reconfigure"):      # not in a notebook
            sys.stdout.reconfigure(errors="backslashreplace")

    def add_flags(self, flags, many=False):
        """Adds {name: Flag}. many: each takes a list, as in --c 1,2,4, and is [] unless given; what
        is given twice counts once. A bool takes none, and is [True] if given."""
        self.flags |= flags
        self.lists |= set(flags) if many else set()
        for name, flag in flags.items():
            option = "--" + name.replace("_", "-")
            default = "" if many or flag.default in (None, "") else f" [{flag.default}]"
            text = {"help": f"{flag.help}{default}".replace("%", "%%")}
            if many and flag.kind is bool:
                text |= {"default": [], "action": "store_const", "const": [True]}
            elif many:
                text |= {"default": [], "type": lambda text, flag=flag: [
                    *dict.fromkeys(map(flag.read, text.split(",")))]}
            elif flag.kind is bool:
                text |= {"default": flag.default, "action": argparse.BooleanOptionalAction}
            else:
                text |= {"default": flag.default, "type": flag.read}
            self.add_argument(option, **text)

    def start_from(self, config):
        """Flags that are not given are as in this config, where it has them."""
        for name in self.flags.keys() & config.keys():
            if self.flags[name].holds(config[name]):
                self.set_defaults(**{name: config[name]})

    def parse(self, argv=None):
        """argv -> {flag: value}, each within its bounds; else one line, and exit 2."""
        self.add_argument("--help", action="help", help="show this and exit")
        values = vars(self.parse_args(argv))
        try:
            for name, flag in self.flags.items():
                given = values[name]
                if given == [] and name not in self.lists:
                    raise BadInput(f"--{name.replace('_', '-')}: a value is needed")
                for value in given if isinstance(given, list) else [given]:
                    if value is not None:       # None: something else decides
                        flag.check(name, value)
        except BadInput as error:
            self.error(str(error))
        self.tell_idle(values)
        return values

    def tell_idle(self, settings):
        """Says which of the flags that are given have no effect in these settings."""
        for name, flag in self.flags.items():
            given = settings.get(name) != self.get_default(name)
            if given and (why := flag.idle(settings)):
                self.tell(f"{self.prog}: {spelled(name, settings[name])} has no effect {why}")

    def error(self, message):
        if message.startswith("unrecognized arguments"):
            bad = message.split(": ", 1)[1].split()[0].split("=")[0]
            close = difflib.get_close_matches(bad, list(self._option_string_actions), 1)
            message = f"unknown flag {bad} ({f'nearest: {close[0]}' if close else 'see --help'})"
        if message.startswith("argument "):     # "argument --n: 'x' is no" -> "--n 'x' is no"
            message = message.removeprefix("argument ").replace(": ", " ", 1)
        self.exit(2, f"{self.prog}: {message}".replace("\n", " ") + "\n")
