"""Cutting a review into sentences, each a verbatim piece of it."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

# Where a sentence ends: Western marks before a space, Chinese ones anywhere, a line break (also a written "\n").
_END = re.compile(
    r"""(?:(?<!\b[A-Z])(?<!\bvs)(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\bi\.e)(?<!\be\.g)[.!?…]+["'”’)\]]*(?=\s|$))"""
    r"""|[。！？!?…~～]+[”’）】」]*|(?:\s*(?:[\r\n]|\\n)\s*)+"""
)
_EDGE = re.compile(r"^\s+|(?:\s|\\n)+$")
_LETTER = re.compile(r"[^\W\d_]")


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, not rewritten; pieces without a letter are left out.

    Example:
        >>> sentences("Warm, and roomy! Fits 5.5 in. screens…\\n味道很好。环境也不错")
        ['Warm, and roomy!', 'Fits 5.5 in.', 'screens…', '味道很好。', '环境也不错']
    """
    pieces, start = [], 0
    for match in _END.finditer(text):
        pieces.append(text[start : match.end()])
        start = match.end()
    pieces.append(text[start:])
    stripped = (_EDGE.sub("", piece) for piece in pieces)
    return [piece for piece in stripped if _LETTER.search(piece)]


def sentence_hash(sentence: str) -> str:
    """Sixteen hex digits that stay the same when only case, spaces or punctuation change."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", sentence).casefold() if c.isalnum())
    return sha256(plain.encode()).hexdigest()[:16]
