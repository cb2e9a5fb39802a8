#!/usr/bin/env python3
"""Floors for the next item of a user: the most popular items, and a Markov chain of the item before. Every item of the file is a candidate,
except those that the user already has.

    python3 bench/recommendation_floors.py beauty.tsv

The chain ranks first the items that followed the user's last item, by how many users; then all others by popularity. Both count everything
but the last item of each user, which is the test.
"""

import argparse
import collections
import math
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="lines `user<TAB>items`, oldest first, with blanks between")
    users = [line.split("\t")[1].split() for line in parser.parse_args().file.read_text(encoding="utf-8").splitlines()]
    popularity, following = collections.Counter(), collections.defaultdict(collections.Counter)
    for items in users:
        popularity.update(items[:-1])
        for before, after in zip(items, items[1:-1]):
            following[before][after] += 1
    by_popularity = [item for item, _ in popularity.most_common()]

    def measure(name, ranking):
        hits = gain = 0
        for *had, target in users:
            known, first = set(had), []
            for item in ranking(had):
                if item not in known:
                    known.add(item)
                    first.append(item)
                if len(first) == 10:
                    break
            if target in first:
                hits += 1
                gain += 1 / math.log2(first.index(target) + 2)
        print(f"{name}: HR@10 {hits / len(users):.4f}, NDCG@10 {gain / len(users):.4f} ({len(users)} users)")

    def chain(had):
        yield from (item for item, _ in following[had[-1]].most_common())
        yield from by_popularity

    measure("popularity", lambda _: by_popularity)
    measure("Markov chain", chain)


main()
