"""The README tells the truth: its Python blocks run, and print what it says they print."""

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
FENCE = re.compile(
    r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ \t]*$", flags=re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    code: str
    line: int  # where the code starts in the file
    output: str | None  # what the block that directly follows says is printed


def blocks(text: str) -> list[Block]:
    """The python blocks of a markdown text, each with the output block that follows it, if any."""
    fences = list(FENCE.finditer(text))
    found = []
    for fence, after in zip(fences, [*fences[1:], None], strict=True):
        if fence["info"].strip() != "python":
            continue
        follows = (
            after is not None
            and after["info"].strip() in {"text", "output"}
            and not text[fence.end() : after.start()].strip()
        )
        output = after["body"] if follows else None
        line = text.count("\n", 0, fence.start("body")) + 1
        found.append(Block(fence["body"], line, output))
    return found


def run(text: str, name: str) -> int:
    """Run the blocks in one namespace; AssertionError where the output differs. Their number."""
    namespace: dict[str, object] = {"__name__": "__readme__"}
    found = blocks(text)
    for block in found:
        source = "\n" * (block.line - 1) + block.code  # so that a traceback names the line
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, name, "exec"), namespace)
        if block.output is not None:
            got = printed.getvalue()
            same = doctest.OutputChecker().check_output(block.output, got, FLAGS)
            assert same, f"{name}:{block.line} says\n{block.output}\nbut it prints\n{got}"
    return len(found)


def test_readme_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(README.read_text(encoding="utf-8"), README.name) >= 2


def test_the_example_more_than_halves_the_gap_at_no_loss_and_the_caption_says_so():
    text = README.read_text(encoding="utf-8")  # its figures are what the code prints, see above
    accuracy = [float(x) for x in re.findall(r"^accuracy (0\.\d+)\.", text, flags=re.MULTILINE)]
    gap = [float(x) for x in re.findall(r"the gap \([a-z ]+\) is (0\.\d+) \.\.\.", text)]
    caption = re.search(r"!\[(.*?)\]", text, flags=re.DOTALL)
    assert len(accuracy) == len(gap) == 2
    assert gap[1] < gap[0] / 2
    assert accuracy[1] >= accuracy[0]
    assert caption is not None
    said = [float(x) for x in re.findall(r"0\.\d+", caption[1])]
    assert said[1:] == accuracy
    assert abs(said[0] - gap[0]) < 0.006


MARKDOWN = """\
# Title

```python
x = 41
```

Some words.

```bash
rm -rf nothing
```

```python
print(x + 1)
print("a   long",  "tail of numbers")
```

```text
42
a long tail ...
```
"""


def test_control_a_true_text_passes():
    assert [(block.line, block.output is None) for block in blocks(MARKDOWN)] == [
        (4, True),
        (14, False),
    ]
    assert run(MARKDOWN, "true.md") == 2


@pytest.mark.parametrize("tag", ["text", "output"])
def test_control_wrong_output_is_found(tag):
    wrong = MARKDOWN.replace("```text\n42", f"```{tag}\n43")
    assert wrong != MARKDOWN
    with pytest.raises(AssertionError, match=r"wrong\.md:14 says"):
        run(wrong, "wrong.md")


def test_control_code_that_fails_is_found():
    with pytest.raises(ZeroDivisionError):
        run(MARKDOWN.replace("x + 1", "x / 0"), "failing.md")


def test_output_that_does_not_follow_directly_is_not_compared():
    text = MARKDOWN.replace("```text\n42", "In between.\n\n```text\n43")
    assert run(text, "apart.md") == 2
