"""How fast wkflow is, in how much memory, beside the reference and beside what the codecs alone take: ``make bench``.

    python benchmarks/bench.py                      all parts; writes benchmarks/RESULTS.md
    python benchmarks/bench.py pyramid tiny         only these; the others' results stay
    python benchmarks/bench.py sparse --quick       small datasets, to try it; writes nothing

All data are made on the spot. With ``--data DIR`` they are kept for the next time, on a disk with 20 GB.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from setting import ORACLE, ROOT, Setting, machine
from table import markdown

PARTS = (
    *("pyramid", "tiny", "big", "memory", "chunks", "sparse", "scaling", "kernels", "planning", "verification"),
    "remote",
    "forecast",
)
ON_REQUEST = ("cluster", "pods")  # which need root
RESULTS = ROOT / "benchmarks/RESULTS.md"
HEAD = "# Results\n\nWhat each part measures and what follows from it: [docs/performance.md](../docs/performance.md).\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"default: {', '.join(PARTS)}; also: {', '.join(ON_REQUEST)}"
    )
    parser.add_argument("--quick", action="store_true", help="small datasets, measured once")
    parser.add_argument("--repeat", type=int, help="how often all is measured; default: 3")
    parser.add_argument("--oracle", choices=["none", "some", "all"], help="which datasets the reference does, too")
    parser.add_argument("--only", default="", metavar="TEXT", help="pyramids whose name has this in it; writes nothing")
    parser.add_argument("--data", type=Path, help="folder for datasets; they are kept")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - {*PARTS, *ON_REQUEST}
    if unknown:
        parser.error(f"there are no parts {', '.join(unknown)}")
    oracle = arguments.oracle or ("none" if arguments.quick else "some")
    if oracle != "none" and not ORACLE.exists():
        parser.error("the reference is not installed: make oracle, or --oracle none")
    command = " ".join(["python benchmarks/bench.py", *without_data(sys.argv[1:])])
    repeat = arguments.repeat or (1 if arguments.quick else 3)
    if arguments.data:
        arguments.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.data) as scratch:
        work = Path(scratch) / "work"
        work.mkdir()
        data = (arguments.data or Path(scratch) / "data").resolve()
        setting = Setting(data, work, repeat, oracle, arguments.quick, arguments.only)
        for part in arguments.parts or PARTS:
            text = f"{machine()}.\n`{command}`\n\n{markdown(import_module(part).measure(setting))}"
            print(f"## {part}\n\n{text}\n", flush=True)
            if not (arguments.quick or arguments.only):
                store(RESULTS, part, text)
            shutil.rmtree(work)
            work.mkdir()


def without_data(given: Sequence[str]) -> Iterator[str]:
    """The arguments but for ``--data``: where datasets lay changes nothing."""
    words = iter(given)
    for word in words:
        if word == "--data":
            next(words, None)
        elif not word.startswith("--data="):
            yield word


def store(path: Path, part: str, text: str) -> None:
    """Replace the part's section, and leave the others as they are."""
    sections = {}
    if path.exists():
        for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            title, _, content = section.partition("\n")
            sections[title] = content.strip()
    sections[part] = text
    ordered = [f"\n## {name}\n\n{sections[name]}\n" for name in (*PARTS, *ON_REQUEST) if name in sections]
    path.write_text(HEAD + "".join(ordered), encoding="utf-8")


if __name__ == "__main__":
    main()
