"""What the site needs beside the pages in ``docs/``: pages that lie elsewhere in the repository, and links between all of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "config.md": "config/README.md",
    "results.md": "benchmarks/RESULTS.md",
}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links are those of the repository. What is no page of the site, such as the license, is named only."""
    source = ROOT / ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {ROOT / path: name for name, path in ELSEWHERE.items()}

    def changed(link: re.Match[str]) -> str:
        target = (source.parent / link[1]).resolve()
        if target.parent == ROOT / "docs" or target.is_relative_to(ROOT / "docs" / "images"):
            return f"]({target.relative_to(ROOT / 'docs')}{link[2] or ''})"
        return f"]({pages[target]}{link[2] or ''})" if target in pages else "](index.md)"

    return _LINK.sub(changed, markdown)
