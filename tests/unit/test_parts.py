"""Images, files and audio as content parts: the media type comes from the first bytes, else from the name."""

import base64
from pathlib import Path

import pytest

from providerhub import InvalidRequestError, audio, file, image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PDF = b"%PDF-1.7\n"
WAV = b"RIFF\x24\0\0\0WAVEfmt "
MP3 = b"ID3\x04" + bytes(8)


def url(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0....JFIF", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"II*\0....", "image/tiff"),
        (b"BM\x36\0\0\0\0\0\0\0", "image/bmp"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
    ],
)
def test_the_first_bytes_of_an_image_say_its_type(data, kind, tmp_path):
    wrong = tmp_path / "image.txt"
    wrong.write_bytes(data)
    for source in (data, wrong, str(wrong)):
        assert image(source) == {"type": "image_url", "image_url": {"url": url(kind, data)}}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (WAV, "wav"),
        (MP3, "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"OggS\0\x02", "ogg"),
        (b"fLaC\0\0", "flac"),
        (b"\0\0\0\x1cftypM4A ", "m4a"),
        (b"\0\0\0\x1cftypisom", "m4a"),
        (b"\x1aE\xdf\xa3\x9fB", "webm"),
        (b"\xff\xf1\x50\x80", "aac"),
    ],
)
def test_the_first_bytes_of_a_sound_say_its_format(data, name):
    assert audio(data) == {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": name}}


def test_a_file_has_a_name(tmp_path):
    paper, notes = tmp_path / "paper.pdf", tmp_path / "notes.txt"
    paper.write_bytes(PDF)
    notes.write_text("Hello")
    assert file(paper) == {"type": "file", "file": {"filename": "paper.pdf", "file_data": url("application/pdf", PDF)}}
    assert file(str(notes)) == {"type": "file", "file": {"filename": "notes.txt", "file_data": url("text/plain", b"Hello")}}
    assert file(PDF)["file"]["filename"] == "file.pdf"
    assert file(b"a,b\n", name="table.csv")["file"] == {"filename": "table.csv", "file_data": url("text/csv", b"a,b\n")}


def test_an_address_is_sent_as_it_is():
    where = "https://example.com/files/a.pdf?v=1"
    assert image("https://example.com/a.png", detail="low")["image_url"] == {"url": "https://example.com/a.png", "detail": "low"}
    assert file(where)["file"] == {"filename": "a.pdf", "file_data": where}
    assert file(url("application/pdf", PDF))["file"] == {"filename": "file", "file_data": url("application/pdf", PDF)}
    assert audio("https://example.com/a.mp3?v=1")["input_audio"] == {"data": "https://example.com/a.mp3?v=1", "format": "mp3"}
    assert audio("https://example.com/a")["input_audio"]["format"] == "wav"
    assert audio(url("audio/mpeg", MP3))["input_audio"] == {"data": base64.b64encode(MP3).decode(), "format": "mp3"}


@pytest.mark.parametrize(
    ("make", "source", "named"),
    [
        (image, "no-such-file.png", ["image: ", "'no-such-file.png'", "No such file"]),
        (image, Path("no-such-file.png"), ["no-such-file.png", "No such file"]),
        (image, "x\0y", ["cannot read", "null"]),
        (image, "x" * 10_000, ["cannot read", "…"]),
        (image, b"", ["0 bytes is empty"]),
        (image, PDF, ["application/pdf", "providerhub.file()"]),
        (image, WAV, ["audio/wav", "providerhub.audio()"]),
        (audio, PNG, ["image/png", "providerhub.image()"]),
        (file, b"\0\1\2", ["3 bytes", "no known format", "name="]),
        (image, b"\0\1\2", ["3 bytes", "no known format"]),
        (image, 7, ["image takes a path, bytes or an address, not int"]),
        (file, None, ["file takes a path"]),
    ],
)
def test_what_fails_is_named(make, source, named):
    with pytest.raises(InvalidRequestError) as caught:
        make(source)
    assert all(part in str(caught.value) for part in named)
    assert len(str(caught.value)) < 300
