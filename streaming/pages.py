"""The pages a recipient sees: what can be left, that it was left, and what they get. Nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path

import yaml

from pipelines.delivery.choices import Choices

WORDS = Path(__file__).parent / "words.yaml"
FALLBACK = "en"
MOST_LANGUAGES = 20
# Of every answer the edge gives.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
# A message shows pictures, and no form or script of its own can do anything.
MESSAGE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox allow-popups "
    "allow-popups-to-escape-sandbox",
}
STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c1b1a; --paper: #faf8f5; --accent: #8a3324; --line: #d9d3ca; --quiet: #645e57
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #eee9e2; --paper: #1d1b19; --accent: #f0a58f; --line: #4a453f; --quiet: #b3aca3 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 Georgia, serif }
main { max-width: 34rem; margin: 12vh auto 4rem; padding: 0 1.25rem }
h1 { font-size: 1.6rem; line-height: 1.25; font-weight: normal; margin: 0 0 1rem }
a { color: var(--accent) }
form { margin: 1.75rem 0 }
button { display: block; width: 100%; min-height: 3rem; margin: 0 0 .75rem; padding: .7rem 1rem;
  font: inherit; text-align: left; color: var(--ink); background: transparent; cursor: pointer;
  border: 1px solid var(--line); border-radius: .4rem }
button.first { color: var(--paper); background: var(--accent); border-color: var(--accent) }
button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px }
label { display: grid; grid-template-columns: 1.5rem 1fr; gap: .75rem; align-items: start;
  padding: .8rem 0; border-top: 1px solid var(--line); cursor: pointer }
label.apart { margin-top: 1.25rem; border-top: 0; color: var(--quiet) }
label + button { margin-top: 1.5rem }
input[type=checkbox] { width: 1.25rem; height: 1.25rem; margin: .15rem 0 0; accent-color: var(--accent) }
p.said { padding: .7rem 1rem; border: 1px solid var(--line); border-radius: .4rem }
p.sender { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-size: .9rem }
"""


class Words:
    """What the pages say, in one language."""

    def __init__(self, language: str, told: Mapping[str, str]) -> None:
        self.language, self._told = language, told

    def __call__(self, name: str, *, topic: str = "") -> str:
        """One sentence, ready for a page; the topic's name stands out."""
        return escape(self._told[name]).replace("{topic}", f"<strong>{escape(topic)}</strong>")

    def plain(self, name: str, *, topic: str = "") -> str:
        """The same where nothing can stand out, such as on a button."""
        return escape(self._told[name].replace("{topic}", topic))


@cache
def _languages() -> dict[str, dict[str, str]]:
    languages: dict[str, dict[str, str]] = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    return languages


def words_for(accepted: str) -> Words:
    """The words in the language a browser asks for (Accept-Language, RFC 9110 12.5.4), else in English."""
    wanted = []
    for number, part in enumerate(accepted.split(",")[:MOST_LANGUAGES]):
        name, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            continue
        wanted.append((-quality, number, name.partition("-")[0].lower()))
    known = _languages()
    chosen = next(
        (name for lower, _, name in sorted(wanted) if name in known and lower < 0), FALLBACK
    )
    return Words(chosen, known[chosen])


def leave_page(words: Words, *, topic: str, sender: str) -> str:
    """What can be left, and the buttons that do it. Looking at it changes nothing."""
    body = f"""<h1>{words("unsubscribe")}</h1>
<p>{words("you_receive", topic=topic)}</p>
<form method="post">
<button class="first" name="leave" value="topic">{words.plain("stop_topic", topic=topic)}</button>
<button name="leave" value="all">{words("stop_all")}</button>
</form>
<p>{words("nothing_yet")}</p>"""
    return _page(words, words("unsubscribe"), body, sender)


def left_page(words: Words, *, what: str, sender: str, choose: str) -> str:
    """That it is done. choose: the address of the page on which it can be undone; '' for none."""
    back = f'<p><a href="{escape(choose)}">{words("changed_mind")}</a></p>' if choose else ""
    body = f"""<h1>{words("left_title")}</h1>
<p>{words("left", topic=what)}</p>
{back}"""
    return _page(words, words("left_title"), body, sender)


def choices_page(
    words: Words, now: Choices, names: Mapping[str, str], *, sender: str, is_saved: bool = False
) -> str:
    """What somebody gets, to be ticked. names: topic → how it is called to them."""
    said = "saved" if any(now.topics.values()) else "nothing"
    told = f'<p class="said" role="status">{words(said)}</p>' if is_saved else ""
    if now.is_blocked or not (now.topics or now.is_counted is not None):
        sentence = words("blocked" if now.is_blocked else "none_offered")
        return _page(words, words("choose_title"), _headed(words, f"<p>{sentence}</p>"), sender)
    boxes = [
        f'<input type="hidden" name="shown" value="{escape(key)}">'
        f'<label><input type="checkbox" name="topic" value="{escape(key)}"{_checked(is_on)}>'
        f"<span>{escape(names[key])}</span></label>"
        for key, is_on in now.topics.items()
    ]
    if now.is_counted is not None:
        boxes.append(
            f'<label class="apart"><input type="checkbox" name="counted" value="yes"'
            f"{_checked(now.is_counted)}><span>{words('counted')}</span></label>"
        )
    body = f"""{told}<p>{words("choose")}</p>
<form method="post"><input type="hidden" name="choose" value="these">
{"".join(boxes)}
<button class="first">{words("save")}</button>
</form>"""
    return _page(words, words("choose_title"), _headed(words, body), sender)


def _headed(words: Words, body: str) -> str:
    return f"<h1>{words('choose_title')}</h1>\n{body}"


def _checked(is_on: bool) -> str:
    return " checked" if is_on else ""


def _page(words: Words, title: str, body: str, sender: str) -> str:
    by = f'<p class="sender">{escape(sender)}</p>' if sender else ""
    return f"""<!doctype html>
<html lang="{words.language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{title}</title><style>{STYLE}</style></head>
<body><main>
{body}
{by}
</main></body>
</html>
"""
