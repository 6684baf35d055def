"""What mkdocs is told besides mkdocs.yml: pages that lie outside docs/, the API's names, and that a site stands
alone."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import fprdo_bridge

ROOT = Path(__file__).resolve().parent.parent
PAGES = {  # file of the repository -> page of the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "patches/README.md": "patches.md",
    "third_party/README.md": "third_party.md",
}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)(#[^)\s]*)?\)")
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|video)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^\s\"'>]+", re.I
)
LOADED_BY_STYLE = re.compile(r"(?:url\(|@import\s)\s*[\"']?(?:https?:)?//[^\s\"')]+", re.I)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "reference.md", content=reference()))
    return files


def reference() -> str:
    """A page with everything that the package offers to programs."""
    names = [getattr(fprdo_bridge, name) for name in fprdo_bridge.__all__]
    return "# API reference\n\n" + "\n\n".join(f"::: {it.__module__}.{it.__qualname__}" for it in names) + "\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are in the repository become links of the site; those to files that are no page become text."""
    places = {page: source for source, page in PAGES.items()}
    source = places.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def mended(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if re.match(r"[a-z]+:", target):
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if target in PAGES:
            target = PAGES[target]
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        elif (ROOT / target).exists():
            return text[1:-1]
        return f"{text}({posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(mended, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """A page that loads something from elsewhere is an error: the site is read without a network."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            pattern = LOADED if path.suffix == ".html" else LOADED_BY_STYLE
            if found := pattern.search(path.read_text(encoding="utf-8")):
                raise PluginError(f"{path}: loads something from elsewhere: {found[0]}")
