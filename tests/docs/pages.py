"""What a page shows as Python is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parents[2] / "docs"


def example(page: Path) -> ModuleType:
    """The one block of Python on a page, as a module."""
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    module = ModuleType(f"docs.{page.stem}")
    exec(compile(code, str(page), "exec"), vars(module))
    return module
