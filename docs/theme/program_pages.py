"""Shows each program of `examples/` as a page of the site, so that a reader need not leave it to copy one."""

from __future__ import annotations

import ast
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

PROGRAMS = Path(__file__).resolve().parents[2] / "examples"


def page_of(program: Path) -> str:
    """Return the page of a program: its name, what its docstring says, and its whole text."""
    code = program.read_text("utf-8")
    about = ast.get_docstring(ast.parse(code))
    return f'# {program.name}\n\n{about}\n\n```python title="{program.name}"\n{code}```\n'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; mkdocs calls this once. They stand in no menu: the first page lists them."""
    for program in sorted(PROGRAMS.glob("*.py")):
        uri, page = f"examples/{program.stem}.md", page_of(program)
        files.append(File.generated(config, uri, content=page, inclusion=InclusionLevel.NOT_IN_NAV))
    return files
