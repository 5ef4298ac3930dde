"""Links of pages to files of the repository work in both places: at the code host and on the site."""

import importlib.util
from types import ModuleType

from tests.support.pages import REPOSITORY
from tests.support.paths import ROOT


def hook(name: str = "repository_links") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "theme" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_file_of_the_repository_gets_its_address() -> None:
    """From pages at any depth, with its anchor, whatever the text of the link."""
    rewrite = hook().with_repository_links

    assert rewrite("[a](../pyproject.toml)", "client.md") == f"[a]({REPOSITORY}/blob/main/pyproject.toml)"
    assert rewrite("[`a`](../../LICENSE#x)", "reference/a.md") == f"[`a`]({REPOSITORY}/blob/main/LICENSE#x)"


def test_a_program_is_a_page_of_the_site() -> None:
    """From pages at any depth; its folder is one of the repository."""
    rewrite = hook().with_repository_links

    assert rewrite("[a](../examples/otp.py)", "client.md") == "[a](examples/otp.md)"
    assert rewrite("[a](../../examples/otp.py)", "reference/a.md") == "[a](../examples/otp.md)"
    assert rewrite("[a](../examples)", "client.md") == f"[a]({REPOSITORY}/blob/main/examples)"


def test_the_changelog_is_a_page_of_the_site() -> None:
    """A reader who looks for what breaks finds it there, and the links of the file lead on."""
    links, changelog = hook(), hook("changelog_page")
    rewrite = links.with_repository_links

    assert rewrite("[a](../CHANGELOG.md#b)", "versioning.md") == "[a](changelog.md#b)"
    assert rewrite("[a](../../CHANGELOG.md)", "reference/a.md") == "[a](../changelog.md)"
    text = "[a](docs/rules.md#x) [b](examples/otp.py) [c](SECURITY.md) [d](#e) [f](https://g.example)"
    assert rewrite(changelog.page_of(text), changelog.PAGE) == (
        f"[a](rules.md#x) [b](examples/otp.md) [c]({REPOSITORY}/blob/main/SECURITY.md) [d](#e) "
        "[f](https://g.example)"
    )


def test_links_between_pages_and_code_stay_as_they_are() -> None:
    """A page, an anchor, a picture, another site, and whatever looks like a link in a block of code."""
    text = (
        "[a](client.md) [b](client.md#x) [c](#x) ![d](images/x.png) [e](https://example.com/x) [f](../a.md)"
        "\n`[g](../x.py)`\n```python\nx = h[0](../y)\n```\n"
    )

    assert hook().with_repository_links(text, "reference/errors.md") == text
