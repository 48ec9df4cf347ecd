"""``make arm64`` and ``make dockerfile-arm64``: see, say, and keep what was seen in ``docs/arm64.md``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from deploy.arm64 import report
from deploy.arm64.host import HostError, arm64_programs
from deploy.arm64.image import build_and_run
from deploy.arm64.proof import prove
from deploy.arm64.rootfs import SUITES

_NICE = 10


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; 0 if all held."""
    given = parse(arguments)
    os.nice(_NICE)
    holds = True
    try:
        with arm64_programs() as emulator:
            for suite in given.suites or SUITES[:1]:
                if given.what == "prove":
                    proof = prove(suite, emulator, say=_say)
                    text, one = report.of_proof(proof), proof.holds
                else:
                    image = build_and_run(suite, emulator, say=_say)
                    text, one = report.of_image(image), image.holds
                print(text)
                if given.keep:
                    report.keep(suite if given.what == "prove" else "image", text)
                holds = holds and one
    except HostError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0 if holds else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is asked; options may stand between the names."""
    parser = argparse.ArgumentParser(prog="python -m deploy.arm64", description=__doc__)
    parser.add_argument("what", choices=("prove", "image"))
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--keep", action="store_true", help="write it into docs/arm64.md")
    return parser.parse_intermixed_args(arguments)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
