"""Pictures that travel with a message: those the HTML names as files, such as `images/portrait.jpg`.

Found at compile time in the campaign's folder or assets/templates; shown by mail programs without
asking any server, at the price of their weight in each message.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape, unescape
from pathlib import Path

from pipelines.errors import Problem
from pipelines.message.compiled import Picture
from pipelines.message.markup import ATTRIBUTE
from pipelines.message.mime import Inline, picture_part

FOLDER = "images/"
LARGEST, LARGEST_TOGETHER = 100_000, 300_000
# A mail program shows these everywhere; what a file is says its beginning and not its name.
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_SOURCE = re.compile(rf'(<img\b(?:{ATTRIBUTE})*?\s+src=")(images/[^"]*)(")')
_NAMED = re.compile(r'(["(])cid:([0-9a-f]{16}@lettermill)(?=[")])')


@dataclass
class Pictures:
    """The pictures of a message so far, by content id, and what is wrong with those that are none.

    find  the file a name stands for; None when there is none
    """

    find: Callable[[str], Path | None]
    known: dict[str, Picture] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    weight: int = 0

    def in_html(self, markup: str) -> str:
        """The page with `cid:` addresses in place of files."""
        return _SOURCE.sub(lambda match: match[1] + self._address(match[2]) + match[3], markup)

    def _address(self, escaped: str) -> str:
        name = unescape(escaped)
        path = self.find(name)
        if path is None:
            told = f"there is no '{name[:80]}' in the campaign's folder, nor in assets/templates"
            return self._refused(name, told, escaped)
        content = path.read_bytes()
        kind = next((kind for start, kind in _KINDS if content.startswith(start)), None)
        if kind is None:
            return self._refused(name, "is neither PNG, JPEG nor GIF", escaped)
        if len(content) > LARGEST:
            told = f"has {len(content):,} bytes; {LARGEST:,} may travel with a message"
            return self._refused(name, f"{told}. Make it smaller, or host it", escaped)
        identifier = f"{sha256(content).hexdigest()[:16]}@lettermill"
        if identifier not in self.known:
            self.weight += len(content)
            self.known[identifier] = Picture(
                kind=kind, content=base64.b64encode(content).decode("ascii")
            )
            if self.weight > LARGEST_TOGETHER:
                told = f"with it the pictures have {self.weight:,} bytes; {LARGEST_TOGETHER:,} may"
                return self._refused(name, f"{told} travel with a message", escaped)
        return f"cid:{identifier}"

    def _refused(self, name: str, what: str, escaped: str) -> str:
        self.problems.append(Problem(name[:80], what))
        return escaped


def parts(pictures: Mapping[str, Picture]) -> tuple[bytes, ...]:
    """Each picture as a part of the message."""
    return tuple(
        picture_part(Inline(identifier, base64.b64decode(each.content), each.kind))
        for identifier, each in pictures.items()
    )


def shown(html: str, pictures: Mapping[str, Picture]) -> str:
    """The page with the pictures in it, for a browser, which knows no `cid:`."""

    def data(match: re.Match[str]) -> str:
        picture = pictures.get(match[2])
        if picture is None:
            return match[0]
        return f"{match[1]}data:{escape(picture.kind)};base64,{picture.content}"

    return _NAMED.sub(data, html) if pictures else html
