"""How much a test does: little in `make test`, all of it in `make test-all`, which sets EOD_ALL=1."""
import os

ALL = bool(os.environ.get("EOD_ALL"))


def size(short, long):
    "The one or the other."
    return long if ALL else short
