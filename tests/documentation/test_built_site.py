"""The checks of the built site find what they look for; `make docs` runs them on the real one."""

from pathlib import Path

from tests.support.built_site import dead_links, external_assets, orphans, read_site


def site(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("_", ".")
        path.write_text(text, "utf-8")
    return folder


def test_a_dead_link_a_dead_anchor_and_a_missing_picture_are_found(tmp_path: Path) -> None:
    """And links that live are not."""
    first = '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><img src="d.png">'
    pages = read_site(site(tmp_path, a_html=first, b_html='<h2 id="there"></h2><a href="a.html">1</a>'))

    assert dead_links(pages) == ["a.html: b.html#gone", "a.html: c.html", "a.html: d.png"]


def test_an_orphan_is_found(tmp_path: Path) -> None:
    """A page that only another orphan links to is one as well."""
    folder = site(
        tmp_path, index_html='<a href="b.html">1</a>', b_html="", c_html='<a href="d.html">1</a>', d_html=""
    )

    assert orphans(read_site(folder), folder / "index.html") == ["c.html", "d.html"]


def test_whatever_a_page_loads_from_another_host_is_found(tmp_path: Path) -> None:
    """Scripts, fonts of styles and pictures; a link that a reader clicks is none."""
    page = (
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//cdn.example/x.css">'
        '<img src="https://cdn.example/x.png"><a href="https://example.com/">1</a>'
        '<p style="background: url(https://cdn.example/y.png)">'
    )
    style = "@import 'https://cdn.example/z.css'; a { background: url(local.png) }"
    folder = site(tmp_path, a_html=page, a_css=style)

    assert external_assets(read_site(folder), folder) == [
        "a.html: https://cdn.example/x.js",
        "a.html: //cdn.example/x.css",
        "a.html: https://cdn.example/x.png",
        "a.html: https://cdn.example/y.png",
        "a.css: https://cdn.example/z.css",
    ]
