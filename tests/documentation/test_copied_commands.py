"""The build gives the copy button of a conversation the commands; `make docs` looks at the real site."""

import html

import pytest

from docs.theme.copied_commands import with_copied_commands


def block(lines: str) -> str:
    return f'<div class="highlight"><pre><span></span><code>{lines}</code></pre></div>'


def test_a_conversation_is_copied_as_its_commands() -> None:
    """Neither the prompts nor what was printed; quotes and other signs as they are typed."""
    shown = (
        '<a id="__codelineno-0-1"></a><span class="gp">$ </span>echo<span class="w"> </span>'
        '<span class="s1">&#39;a &lt; &quot;b&quot; &amp; c&#39;</span>\n'
        '<a id="__codelineno-0-2"></a><span class="go">a &lt; &quot;b&quot; &amp; c costs $ 3</span>\n'
        '<a id="__codelineno-0-3"></a><span class="gp">$ </span>ls\n'
    )

    marked = with_copied_commands(block(shown))

    head, _, rest = marked.removeprefix('<div class="highlight" data-copy="').partition('">')
    assert html.unescape(head) == "echo 'a < \"b\" & c'\nls"
    assert rest == block(shown).removeprefix('<div class="highlight">')


@pytest.mark.parametrize("other", ["print(1)\n", '<span class="c1"># $ </span>\n'])
def test_other_blocks_are_copied_as_they_are_shown(other: str) -> None:
    """A block without prompts stays, also before and after a conversation."""
    conversation = block('<span class="gp">$ </span>ls\n')

    marked = with_copied_commands(block(other) + conversation + block(other))

    assert marked.startswith(block(other))
    assert marked.endswith(block(other))
    assert marked.count("data-copy") == 1
