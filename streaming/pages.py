"""The pages a recipient sees: what can be left, and that it was left. Nothing from outside."""

from __future__ import annotations

from html import escape

# Of every answer the edge gives.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c1b1a; --paper: #faf8f5; --accent: #8a3324; --line: #d9d3ca
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #eee9e2; --paper: #1d1b19; --accent: #f0a58f; --line: #4a453f }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 Georgia, serif }
main { max-width: 34rem; margin: 12vh auto 4rem; padding: 0 1.25rem }
h1 { font-size: 1.6rem; line-height: 1.25; font-weight: normal; margin: 0 0 1rem }
form { margin: 1.75rem 0 }
button { display: block; width: 100%; min-height: 3rem; margin: 0 0 .75rem; padding: .7rem 1rem;
  font: inherit; text-align: left; color: var(--ink); background: transparent; cursor: pointer;
  border: 1px solid var(--line); border-radius: .4rem }
button.first { color: var(--paper); background: var(--accent); border-color: var(--accent) }
button:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px }
p.sender { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-size: .9rem }
"""


def leave_page(*, topic: str, sender: str) -> str:
    """What can be left, and the buttons that do it. Looking at it changes nothing."""
    body = f"""<h1>Unsubscribe</h1>
<p>You receive <strong>{escape(topic)}</strong>. What should stop?</p>
<form method="post">
<button class="first" name="leave" value="topic">Stop {escape(topic)}</button>
<button name="leave" value="all">Stop all marketing mail</button>
</form>
<p>Nothing changes until you press a button.</p>"""
    return _page("Unsubscribe", body, sender)


def left_page(*, what: str, sender: str) -> str:
    body = f"""<h1>You are unsubscribed</h1>
<p>You will get no more mail from us: <strong>{escape(what)}</strong>. A message that is already on
its way may still arrive.</p>"""
    return _page("You are unsubscribed", body, sender)


def _page(title: str, body: str, sender: str) -> str:
    by = f'<p class="sender">{escape(sender)}</p>' if sender else ""
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>
{body}
{by}
</main></body>
</html>
"""
