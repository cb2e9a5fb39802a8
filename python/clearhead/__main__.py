"""Entry point of `python -m clearhead …` and of the command `clearhead`: replaces this process by the program in the package."""

import os
import sys


def main():
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "clearhead")
    if not os.path.exists(program):
        sys.exit(f"clearhead: {program} is missing; the package was built without the command-line program")
    os.execv(program, ["clearhead", *sys.argv[1:]])


if __name__ == "__main__":
    main()
