"""Pictures that travel with a message."""

from __future__ import annotations

import base64
import email
import email.policy
from pathlib import Path

import pytest

from pipelines.errors import TemplateInvalid
from pipelines.message.pictures import LARGEST, LARGEST_TOGETHER, shown

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BODY = '[[ image("images/dot.png", alt="A dot") ]]'


@pytest.fixture
def images(workshop: Path) -> Path:
    folder = workshop / "assets/campaigns/autumn-thanks/images"
    folder.mkdir()
    (folder / "dot.png").write_bytes(PNG)
    return folder


def problems(compiled, body: str = BODY) -> str:
    with pytest.raises(TemplateInvalid) as refused:
        compiled(body)
    return "\n".join(f"{each.where}: {each.what}" for each in refused.value.problems)


def test_a_picture_of_the_campaign_s_folder_travels_along(images, compiled, fill):
    found = fill(compiled(BODY))

    message = email.message_from_bytes(found.raw, policy=email.policy.default)
    kinds = [part.get_content_type() for part in message.walk()]
    (picture,) = (part for part in message.walk() if part.get_content_maintype() == "image")
    assert kinds == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip
    assert picture.get_content() == PNG
    assert f'src="cid:{picture["Content-ID"].strip("<>")}"' in found.html


def test_a_picture_travels_whatever_its_words_are(images, compiled):
    body = """[[ image("images/dot.png", alt="Dots > lines, 'a' < b") ]]"""

    assert len(compiled(body).pictures) == 1


def test_one_picture_used_twice_travels_once(images, compiled):
    (images / "same.png").write_bytes(PNG)

    message = compiled(BODY + BODY + '[[ image("images/same.png", alt="Again") ]]')

    assert len(message.pictures) == 1


def test_a_browser_is_shown_the_picture_itself(images, compiled, fill):
    message = compiled(BODY)

    page = shown(fill(message).html, message.pictures)

    assert "cid:" not in page
    assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in page


def test_a_picture_of_all_campaigns_lies_with_the_templates(images, workshop, compiled):
    shared = workshop / "assets/templates/images"
    shared.mkdir()
    (images / "dot.png").rename(shared / "dot.png")

    assert len(compiled(BODY).pictures) == 1


def test_a_missing_picture_is_named(compiled):
    assert "images/dot.png: there is no 'images/dot.png'" in problems(compiled)


def test_a_file_that_is_no_picture_is_named_whatever_it_is_called(images, compiled):
    (images / "dot.png").write_bytes(b"<svg onload=alert(1)>")

    assert "images/dot.png: is neither PNG, JPEG nor GIF" in problems(compiled)


def test_a_picture_too_heavy_for_mail_is_named_with_its_weight(images, compiled):
    (images / "dot.png").write_bytes(PNG.ljust(LARGEST + 1, b"\0"))

    assert f"has {LARGEST + 1:,} bytes" in problems(compiled)


def test_pictures_too_heavy_together_are_named(images, compiled):
    count = LARGEST_TOGETHER // LARGEST + 1
    for number in range(count):
        (images / f"{number}.png").write_bytes(PNG.ljust(LARGEST - 1, bytes([number])))
    body = "".join(f'[[ image("images/{number}.png", alt="x") ]]' for number in range(count))

    assert "with it the pictures have" in problems(compiled, body)


@pytest.mark.parametrize("name", ["images/../campaign.yaml", "images/../../../../etc/passwd"])
def test_no_name_leads_out_of_the_folders(images, compiled, name):
    assert f"there is no '{name}'" in problems(compiled, f'[[ image("{name}", alt="x") ]]')


def test_a_link_leads_out_of_no_folder(images, compiled, tmp_path):
    (tmp_path.parent / "secret.png").write_bytes(PNG)
    (images / "out.png").symlink_to(tmp_path.parent / "secret.png")

    assert "there is no 'images/out.png'" in problems(
        compiled, '[[ image("images/out.png", alt="x") ]]'
    )
