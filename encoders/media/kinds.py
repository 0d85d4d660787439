"""What can be read, in one list for all: formats of pictures and videos, and how a file's first bytes tell them."""

from __future__ import annotations

from pathlib import Path

PICTURES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo",),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "ICO": (".ico",),
}
"""Pillow's name → endings. Not every format that it knows: its EPS reader, for one, starts an outside program."""

VIDEOS: dict[str, tuple[str, ...]] = {
    "mov,mp4,m4a,3gp,3g2,mj2": (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v"),
    "matroska,webm": (".mkv", ".webm"),
    "avi": (".avi",),
    "mpeg": (".mpg", ".mpeg", ".vob"),
    "mpegvideo": (".m1v", ".m2v"),
    "mpegts": (".ts", ".mts", ".m2ts"),
    "flv": (".flv",),
    "ogg": (".ogv", ".ogg"),
    "asf": (".wmv", ".asf"),
    "mxf": (".mxf",),
    "ivf": (".ivf",),
    "h264": (".h264", ".264"),
    "hevc": (".h265", ".265", ".hevc"),
    "dv": (".dv",),
    "gif": (),  # a picture by its ending, a video where an item names it as one
    "apng": (),
}
"""FFmpeg's name → endings. Named, so that a playlist posing as a video cannot make FFmpeg open other files."""

PICTURE_SUFFIXES = frozenset(suffix for suffixes in PICTURES.values() for suffix in suffixes)
VIDEO_SUFFIXES = frozenset(suffix for suffixes in VIDEOS.values() for suffix in suffixes)
HEAD = 1024  # bytes by which a file is told

_PICTURE_HEADS: tuple[bytes, ...] = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\1\0",
)
_PICTURE_HEADS += (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_VIDEO_HEADS: tuple[bytes, ...] = (
    b"\x1a\x45\xdf\xa3",
    b"\0\0\1\xba",
    b"\0\0\1\xb3",
    b"OggS",
    b"FLV\1",
    b"DKIF",
    b"\x06\x0e\x2b\x34",
)
_VIDEO_HEADS += (b"\x30\x26\xb2\x75", b"\0\0\0\1\x67", b"\0\0\0\1\x27", b"\0\0\0\1\x09", b"\0\0\0\1\x40\x01")
_VIDEO_HEADS += (b"\0\0\1\x67", b"\0\0\1\x27", b"\x1f\x07\0")
_ISO_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_UNREAD = {
    b"ftypheic": "HEIC",
    b"ftypheix": "HEIC",
    b"ftypheim": "HEIC",
    b"ftypheis": "HEIC",
    b"ftyphevc": "HEIC",
    b"ftyphevx": "HEIC",
    b"ftypmif1": "HEIF",
    b"ftypmsf1": "HEIF",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"\xff\x0a": "JPEG XL",
    b"JXL ": "JPEG XL",
    b".RMF": "RealMedia",
    b"FWS": "Flash",
    b"CWS": "Flash",
    b"NUT/": "NUT",
    b"\xb7\xd8\x00\x20": "WTV",
    b"YUV4MPEG2": "Y4M",
}


def sniff(head: bytes) -> str:
    """``picture`` or ``video`` by a file's first :data:`HEAD` bytes; empty if they are of neither.

    Example:
        >>> sniff(b"GIF89a"), sniff(b"RIFF....AVI LIST"), sniff(b"Rain coat")
        ('picture', 'video', '')
    """
    if head[4:8] == b"ftyp":
        return "picture" if head[8:12] in _ISO_PICTURES else "video"
    if head[:4] == b"RIFF":
        return {b"WEBP": "picture", b"AVI ": "video"}.get(head[8:12], "")
    if head.startswith(_PICTURE_HEADS):
        return "picture"
    if head[4:8] in _QUICKTIME or head.startswith(_VIDEO_HEADS) or is_transport_stream(head):
        return "video"
    return ""


def kind_of_file(path: str | Path) -> str:
    """``picture`` or ``video`` by what a file holds, else by its ending; empty if neither tells."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = sniff(file.read(HEAD))
    except OSError:
        found = ""
    suffix = path.suffix.lower()
    by_name = "picture" if suffix in PICTURE_SUFFIXES else "video" if suffix in VIDEO_SUFFIXES else ""
    return found or by_name


def unread(head: bytes) -> str:
    """The name of a format that is known and not read, by a file's first bytes; empty for others."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype")) and b"<svg" in text:
        return "SVG"
    if text.startswith((b"<!doctype", b"<html")):
        return "a web page"
    start = head.lstrip()[:16]
    names = [
        name for magic, name in _UNREAD.items() if start.startswith(magic) or start[4:].startswith(magic)
    ]
    return names[0] if names else ""


def is_transport_stream(head: bytes) -> bool:
    """Three of MPEG's sync bytes at the distance of a packet, wherever the first packet begins."""
    return any(
        head[start : start + 2 * size + 1 : size] == b"\x47\x47\x47"
        for size in (188, 192, 204)
        for start in range(size)
    )
