"""The pages that people read, and the code blocks on them."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    {ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"}
    | set((ROOT / "docs").rglob("*.md"))
    | set((ROOT / "notebooks").glob("*.ipynb"))
)
FENCE = re.compile(r"^( *)```(\w*)(?: title=\S+)?\n(.*?)^\1```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")


def text_of(page: Path) -> str:
    """A page; of a notebook its texts."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] != "code")


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks in these languages, without their indentation."""
    found = FENCE.findall(text_of(page))
    return [
        re.sub(f"^{indent}", "", code, flags=re.M)
        for indent, language, code in found
        if language in languages
    ]
