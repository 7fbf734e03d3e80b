"""The pages that people read, and the code blocks on them."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")}
    | {ROOT / "benchmarks" / "README.md"}
    | set((ROOT / "docs").rglob("*.md"))
    | set((ROOT / "notebooks").glob("*.ipynb"))
)
FENCE = re.compile(r"^( *)```(\w*)(?: title=\S+)?\n(.*?)^\1```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")


def text_of(page: Path) -> str:
    """A page; of a notebook its texts."""
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    return "\n\n".join(cells(page, "markdown"))


def blocks(page: Path, *languages: str) -> list[str]:
    """The code in these languages, without its indentation; of a notebook also its cells."""
    found = FENCE.findall(text_of(page))
    if page.suffix == ".ipynb":
        found += [("", "python", code) for code in cells(page, "code")]
    return [
        re.sub(f"^{indent}", "", code, flags=re.M)
        for indent, language, code in found
        if language in languages
    ]


def cells(notebook: Path, kind: str) -> list[str]:
    """Texts of a notebook's cells of one kind: `code` or `markdown`."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in found if c["cell_type"] == kind]
