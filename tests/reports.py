"""Reading a report: its tags, and what holds for every one."""

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Checks that tags are balanced, and collects attributes and text."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.faults = [], [], [], []
        self.feed(page)
        self.close()
        self.faults += [f"<{name}> is never closed" for name in self.open]

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_endtag(self, name):
        if not self.open or self.open[-1] != name:
            self.faults.append(f"</{name}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    def named(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def sound(page, whole=True, least=4, tables=6, keys=("prices", "certificate", "rows")):
    """Parse a report and check what holds for every one."""
    found = Reader(page)
    assert found.faults == []
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in found.tags:
        for key in ("href", "src", "xlink:href"):
            value = attributes.get(key, "#")
            assert value.startswith("#"), f"{key}={value!r} points outside"
            assert value == "#" or value[1:] in ids
        for key, value in attributes.items():
            assert not key.startswith("on"), f"{key} runs code"
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target.startswith("#")
                assert target[1:] in ids
        for target in attributes.get("aria-labelledby", "").split():
            assert target in ids
    for forbidden in ("script", "link", "iframe", "object", "embed", "image", "img"):
        assert found.named(forbidden) == []
    assert not re.search(r"https?://", page)  # namespaces are not needed in HTML either
    assert "@import" not in page
    pictures = [a for a in found.named("svg") if a.get("aria-hidden") != "true"]
    assert len(pictures) >= least
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in pictures)
    assert all(a.get("scope") in ("col", "row") for a in found.named("th"))
    assert len(page.encode()) < 1_500_000
    if whole:
        assert page.startswith("<!DOCTYPE html>")
        assert found.named("html")[0]["lang"] == "en"
        assert [len(found.named(part)) for part in ("main", "header", "h1")] == [1, 1, 1]
        assert found.named("nav")[0]["aria-label"]
        assert {a["id"] for a in found.named("section")} >= set(keys)
        assert len(found.named("caption")) == len(found.named("table")) >= tables
    return found
