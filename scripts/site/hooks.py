"""Hooks of MkDocs (mkdocs.yml): the README and the licence become pages, and links to them work in the site.

On disk both lie beside the folder docs, where MkDocs does not look; in the site they lie beside its pages.
"""

import re
from typing import Any

from mkdocs.structure.files import File, Files

__all__ = ["on_files", "on_page_content", "on_page_markdown"]

_README = "README.md"
_PAGE_OF_README = "readme.md"
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?(.*?)</code>")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the files that lie outside docs."""
    root = config.config_file_path.removesuffix("mkdocs.yml")
    for source, page in ((_README, _PAGE_OF_README), ("LICENSE", "LICENSE")):
        files.append(File.generated(config, page, abs_src_path=root + source))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Adapt links to the places of files in the site."""
    if page.file.src_uri == _PAGE_OF_README:
        return markdown.replace("](docs/", "](")
    return markdown.replace(f"](../{_README})", f"]({_PAGE_OF_README})")


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """Show the Sphinx roles of docstrings as plain code."""
    return _ROLE.sub(r"<code>\1</code>", html)
