#!/usr/bin/env python3
"""Runs the command-line tests: run.py CLEARHEAD CLEARHEAD_KNOWN_MODELS [unittest options]."""

import os
import sys
import unittest
from pathlib import Path

if __name__ == "__main__":
    os.environ["CLEARHEAD"], os.environ["CLEARHEAD_KNOWN_MODELS"] = (str(Path(path).resolve()) for path in sys.argv[1:3])
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    import support

    names = [path.stem for path in sorted(Path(here).glob("*_test.py"))]
    try:
        unittest.main(module=None, argv=[sys.argv[0], *(sys.argv[3:] or names)])
    finally:
        support.clean_up()
