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
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#]+)(#[^)]*)?\)")
_CODE = re.compile(r"`[^`\n]+`")


def on_files(files: Files, config: Any) -> Files:
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links are those of the repository. One that is called like its file gets the title of the page instead; what is no page of
    the site, such as the license, is named only."""
    source = ROOT / ELSEWHERE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {ROOT / path: name for name, path in ELSEWHERE.items()}

    def changed(link: re.Match[str]) -> str:
        image, text, path, anchor = link.groups(default="")
        target = (source.parent / path).resolve()
        if image:
            return f"![{text}]({target.relative_to(ROOT / 'docs')})"
        name = pages.get(target) or (target.name if target.parent == ROOT / "docs" else None)
        if name is None:
            return text
        return f"[{_title(target) if text.endswith(target.name) else text}]({name}{anchor})"

    return _CODE.sub(_without_escapes, _LINK.sub(changed, markdown))


def _title(page: Path) -> str:
    """The first heading."""
    return page.read_text().partition("# ")[2].partition("\n")[0]


def _without_escapes(code: re.Match[str]) -> str:
    """In tables of the repository, ``|`` within code needs a backslash; here it would be shown."""
    return code[0].replace("\\|", "|")
