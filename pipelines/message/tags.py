"""Keep fill-time tags out of harm's way while a message is put together.

MJML and HTML parsers move text out of tables and escape what looks odd to them. So each `{{ … }}`
and `{% … %}` becomes a word when its file is read, block tags between elements become comments, and
all are put back at the end. Knows where each tag came from; nothing of what it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from jinja2 import BaseLoader, Environment, TemplateError, TemplateNotFound

from pipelines.message.places import Places

# Each stops where the next one begins: without an end it would be looked for again and again.
_TAG = re.compile(r"\{\{(?:(?!\{\{).)*?\}\}|\{%(?:(?!\{%).)*?%\}|\{#\s(?:(?!\{#).)*?#\}", re.DOTALL)
_TOKEN = re.compile(r"LMTAG(\d+)X")
_COMMENT = re.compile(r"<!--\s*LMTAG(\d+)X\s*-->")
_MARKUP = re.compile(r"<!--(?:(?!<!--).)*?-->|<[^<>]*>", re.DOTALL)
_ONLY_BLOCKS = re.compile(r"^[ \t]*((?:LMTAG\d+X[ \t]*)+)\n", re.MULTILINE)


_STYLES = re.compile(
    r"<(?:mj-)?style\b[^<>]*>([^<]*)|\sstyle\s*=\s*(\"[^\"]*\"|'[^']*')", re.IGNORECASE
)
LARGEST_FILE = 300_000


@dataclass(frozen=True)
class Tag:
    """One fill-time tag as somebody wrote it, and where."""

    source: str
    file: str
    line: int

    @property
    def is_block(self) -> bool:
        return self.source.startswith("{%")

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass
class Tags:
    """Every tag met so far, by number."""

    known: list[Tag] = field(default_factory=list)

    def protect(self, source: str, file: str) -> str:
        """The source with a word in place of each tag; lines stay where they are."""

        def word(match: re.Match[str]) -> str:
            lines = "\n" * match[0].count("\n")
            if match[0].startswith("{#"):
                return lines
            line = source.count("\n", 0, match.start()) + 1
            return self.add(Tag(match[0], file, line)) + lines

        return _TAG.sub(word, source)

    def add(self, tag: Tag) -> str:
        self.known.append(tag)
        return f"LMTAG{len(self.known) - 1}X"

    def as_comments(self, markup: str) -> str:
        """Block tags between elements as comments, which stay put anywhere, in a table too."""
        out, at = [], 0
        for match in _MARKUP.finditer(markup):
            out += [self._commented(markup[at : match.start()]), self._noted(match[0])]
            at = match.end()
        return "".join([*out, self._commented(markup[at:])])

    def restore(self, markup: str) -> str:
        """The tags again, in place of comments and words."""
        return _TOKEN.sub(self._source, _COMMENT.sub(self._source, markup))

    def restore_lines(self, text: str) -> str:
        """The same for plain text: a line of nothing but block tags leaves no empty line."""

        def joined(match: re.Match[str]) -> str:
            numbers = _TOKEN.findall(match[1])
            is_block = all(self._numbered(number).is_block for number in numbers)
            return match[1].strip() if is_block else match[0]

        return self.restore(_ONLY_BLOCKS.sub(joined, text))

    def within(self, markup: str) -> list[Tag]:
        """The tags a piece of markup holds."""
        return [self._numbered(number) for number in _TOKEN.findall(markup)]

    def rewrite(self, value: str, change: Callable[[Tag], Tag]) -> str:
        """The value with new tags in place of those it holds."""
        return _TOKEN.sub(lambda match: self.add(change(self._numbered(match[1]))), value)

    def place_of(self, name: str) -> str | None:
        """Where a name is first used."""
        word = re.compile(rf"\b{re.escape(name)}\b")
        return next((tag.place for tag in self.known if word.search(tag.source)), None)

    def in_styles(self, markup: str) -> list[Tag]:
        """The values that would stand in a style sheet or in an element's own style."""
        styles = "".join(first or second for first, second in _STYLES.findall(markup))
        return [tag for tag in self.within(styles) if not tag.is_block]

    def _noted(self, markup: str) -> str:
        """A comment of nothing but a value is a note of its author's, and nobody's to read."""
        note = _COMMENT.fullmatch(markup)
        return "" if note and not self._numbered(note[1]).is_block else markup

    def _commented(self, text: str) -> str:
        return _TOKEN.sub(
            lambda match: f"<!--{match[0]}-->" if self._numbered(match[1]).is_block else match[0],
            text,
        )

    def _source(self, match: re.Match[str]) -> str:
        return self._numbered(match[1]).source

    def _numbered(self, number: str) -> Tag:
        """The tag a word stands for; the word itself where somebody wrote it who meant none."""
        is_known = len(number) < 7 and int(number) < len(self.known)
        return self.known[int(number)] if is_known else Tag(f"LMTAG{number}X", "", 0)


class ProjectLoader(BaseLoader):
    """Reads templates from a campaign's folder and from assets/templates, and from nowhere else."""

    def __init__(self, roots: list[Path], project: Path, tags: Tags) -> None:
        self._roots = [root.resolve() for root in roots]
        self._project = project.resolve()
        self._tags = tags
        # Path in the project → text as written: for saying where something is.
        self.sources: dict[str, str] = {}
        # Marks every line with where it comes from, once that is to be told.
        self.places: Places | None = None

    def get_source(
        self,
        environment: Environment,  # noqa: ARG002
        template: str,
    ) -> tuple[str, str, Callable[[], bool]]:
        path = self.find(template)
        if path is None:
            raise TemplateNotFound(template)
        shown = path.relative_to(self._project).as_posix()
        if path.stat().st_size > LARGEST_FILE:
            told = f"{shown} has more than {LARGEST_FILE:,} bytes; a message is smaller"
            raise TemplateError(told)
        source = path.read_text(encoding="utf-8")
        self.sources[shown] = source
        return self.protected(source, shown), shown, lambda: True

    def protected(self, source: str, shown: str) -> str:
        """A source as Jinja gets it: its tags protected, its MJML with marks where they are asked for."""
        protected = self._tags.protect(source, shown)
        if self.places is None or not shown.endswith(".mjml.j2"):
            return protected
        return self.places.marked(protected, shown)

    def names(self, folder: str, suffix: str) -> list[str]:
        """The templates of one folder, such as `blocks/button.mjml.j2`."""
        return sorted(
            f"{folder}/{path.name}"
            for root in self._roots
            for path in (root / folder).glob(f"*{suffix}")
        )

    def find(self, file: str) -> Path | None:
        """The file of this name in the first root that has one; nothing outside of the roots."""
        name = PurePosixPath(file)
        if not name.is_absolute() and ".." not in name.parts:
            for root in self._roots:
                # Resolved, so that no symbolic link leads out of the root.
                path = (root / name).resolve()
                if path.is_file() and path.is_relative_to(root):
                    return path
        return None
