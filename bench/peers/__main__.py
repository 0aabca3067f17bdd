"""Print what other packages' fields add to a plain TextField, on SQLite, with ours beside them."""

from __future__ import annotations

import argparse
import subprocess

from bench.peers import environment

NOTES = """
TextField: what a value takes, in µs. The others: what they add to that, and how many times what
ours adds that is. Each number is the fastest of {rounds} rounds, in which all took turns in one
process. Each other package has one static key and encrypts a value once; ours makes a data key
for each value, so it encrypts twice."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how often each work is timed")
    rounds = parser.parse_args().rounds

    print("Installing the other packages into", environment.DIRECTORY.relative_to(environment.ROOT))
    python, missing = environment.make()
    command = [python, "-m", "bench.peers.compare", str(rounds)]
    subprocess.run(command, cwd=environment.ROOT, check=True)
    print(NOTES.format(rounds=rounds))
    for pin, reason in missing.items():
        print(f"Could not be installed: {pin} ({reason}).")


if __name__ == "__main__":
    main()
