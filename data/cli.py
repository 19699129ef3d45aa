"""Bad input: one clear line, the nearest match in it, and exit code 2. For every command line."""
import argparse
import difflib
import sys


class BadInput(ValueError):
    """The user's input is wrong: scripts print its one line and exit with code 2."""


def choice(value, known, what):
    """known[value], or value if known is no dict; BadInput with the nearest match if unknown."""
    if value not in known:
        close = difflib.get_close_matches(str(value), list(known), 1)
        hint = f"nearest: {close[0]}" if close else f"known: {', '.join(known)}"
        raise BadInput(f"unknown {what} {value!r} ({hint})")
    return known[value] if isinstance(known, dict) else value


class Parser(argparse.ArgumentParser):
    """argparse that answers bad input with one line, the nearest match in it, and exit code 2.

    Every script makes one at its start. From then on what it prints may hold any name of a file,
    and any sign: what the encoding of its output lacks appears as \\xff or \\udcff.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if hasattr(sys.stdout, "reconfigure"):      # not in a notebook
            sys.stdout.reconfigure(errors="backslashreplace")

    def error(self, message):
        if message.startswith("unrecognized arguments"):
            bad = message.split(": ", 1)[1].split()[0].split("=")[0]
            close = difflib.get_close_matches(bad, list(self._option_string_actions), 1)
            message = f"unknown flag {bad} ({f'nearest: {close[0]}' if close else 'see --help'})"
        self.exit(2, f"{self.prog}: {message}\n")
