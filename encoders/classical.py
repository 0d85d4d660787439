"""Classical text encoders, fitted on one's own texts: TF-IDF with SVD, and Word2Vec."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.base import WeightsError
from encoders.state import read_config, read_json, read_state
from encoders.text import TextEncoder, clean_text
from encoders.weights import resolve_weights

# A word, or one character of a script that is written without spaces.
_CJK = "぀-ヿ㐀-鿿豈-﫿"
_TOKEN = rf"[{_CJK}]|[^\W{_CJK}]+"


class FittedEncoder(TextEncoder):
    """Terms of a fitted vocabulary, looked up in a table of vectors and summed with weights.

    A text without any known term gives zeros. Saved as JSON and safetensors; nothing saved is ever executed.

    Attributes:
        vocabulary: The terms, in the table's order.
        table: (V, D) float32.
    """

    kind: str

    def __init__(self, weights: str, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.vocabulary: list[str] = []
        self.table = nn.Parameter(torch.zeros(0, dim))
        if weights:
            self._load(weights)
        self.eval()

    @abstractmethod
    def fit(self, texts: Iterable[str]) -> Self:
        """Learn vocabulary and table, in place, from texts; the same texts and seed give the same encoder."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What ``config.json`` keeps beside the dimension."""

    @abstractmethod
    def _fitted(self, vocabulary: list[str], tensors: dict[str, Tensor]) -> None:
        """Take up a vocabulary and its tensors, ``table`` among them."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """What ``model.safetensors`` keeps."""

    def preprocess(self, raw: str) -> dict[str, Tensor]:
        """One text to ``ids`` (n,) int64 and ``weights`` (n,) float32 of its known terms; n may be 0.

        Raises:
            MediaError: If it is no text.
            WeightsError: If the encoder has not been fitted.
        """
        return self.preprocess_many([raw])[0]

    def preprocess_many(self, raws: Iterable[Any]) -> list[dict[str, Tensor]]:
        """As :meth:`preprocess`, for many texts at once, which is faster."""
        if not self.vocabulary:
            raise WeightsError(f"{self.kind}: not fitted; call fit(texts) or give weights=<saved folder>")
        return self.preprocessing.many(raws)

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Texts joined: ``ids`` and ``weights``, and ``offsets`` (B,) int64, where each begins."""
        lengths = torch.tensor([0, *(len(sample["ids"]) for sample in samples[:-1])])
        joined = {name: torch.cat([sample[name] for sample in samples]) for name in ("ids", "weights")}
        return {**joined, "offsets": lengths.cumsum(0)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Collated texts to (B, D) float32."""
        weights = self._cast(batch["weights"])
        ids, offsets = self._cast(batch["ids"]), self._cast(batch["offsets"])
        return F.embedding_bag(ids, self.table, offsets, mode="sum", per_sample_weights=weights).float()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json``, ``vocabulary.json`` and ``model.safetensors``."""
        from safetensors.torch import save_file

        if not self.vocabulary:
            raise WeightsError(f"{self.kind}: not fitted; call fit(texts) before saving")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"type": self.kind, "dim": self.dim, **self._settings()}
        for name, value in (("config.json", config), ("vocabulary.json", self.vocabulary)):
            part = folder / f".tmp-{name}"
            part.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
            part.replace(folder / name)
        part = folder / ".tmp-model.safetensors"
        save_file({name: t.detach().float().cpu().contiguous() for name, t in self._tensors().items()}, part)
        part.replace(folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read what :meth:`save_pretrained` wrote.

        Raises:
            WeightsError: If a file is missing or they do not belong together.
        """
        return cls(weights=str(folder))  # type: ignore[call-arg]

    def _load(self, weights: str) -> None:
        folder = resolve_weights(weights)
        config = read_config(weights, "config.json")
        if config.get("type") != self.kind:
            raise WeightsError(
                f"{folder}: no saved {self.kind} encoder: config.json lacks type={self.kind!r}"
            )
        vocabulary: Any = read_json(weights, "vocabulary.json")
        tensors = read_state(weights)
        table = tensors.get("table", torch.empty(0))
        fits = isinstance(vocabulary, list) and table.shape == (len(vocabulary), config.get("dim"))
        if not fits or not all(isinstance(term, str) for term in vocabulary):
            raise WeightsError(f"{folder}: vocabulary.json and model.safetensors do not belong together")
        for name in self._settings():
            setattr(self, name, config[name])
        self._fitted(vocabulary, tensors)

    def _take_table(self, vocabulary: list[str], table: Tensor) -> None:
        self.vocabulary = vocabulary
        self.table = nn.Parameter(table.float())
        self.dim = table.shape[1]


class TfidfEncoder(FittedEncoder):
    """Term weights reduced by a truncated SVD (latent semantic analysis): ``tfidf``.

    TF-IDF and SVD are scikit-learn's; see Deerwester et al., "Indexing by latent semantic analysis", 1990.

    Args:
        name: Nothing, or a label.
        weights: Folder that :meth:`save_pretrained` wrote; empty for an encoder to fit.
        dim: Length of a feature; fewer if the texts have fewer terms.
        ngrams: Terms of up to so many words.
        max_terms: Only the most frequent terms are kept.
        seed: Of the randomised SVD.

    Example:
        >>> encoder = TfidfEncoder(dim=2).fit(["red wool hat", "blue wool hat", "red cotton shirt"])
        >>> encoder.encode(["a red hat"]).shape
        torch.Size([1, 2])
    """

    kind = "tfidf"

    def __init__(
        self,
        name: str = "",
        weights: str = "",
        *,
        dim: int = 256,
        ngrams: int = 2,
        max_terms: int = 50_000,
        seed: int = 0,
    ) -> None:
        self.ngrams, self.max_terms, self.seed = ngrams, max_terms, seed
        self.idf = torch.zeros(0)
        super().__init__(weights, dim)

    def fit(self, texts: Iterable[str]) -> Self:
        """Learn the terms, their weights and the SVD.

        Raises:
            ValueError: If the texts hold fewer than two different terms.
        """
        from sklearn.decomposition import TruncatedSVD

        cleaned = [clean_text(text) for text in texts]
        vectorizer = _vectorizer(self.ngrams, max_features=self.max_terms)
        try:
            matrix = vectorizer.fit_transform(cleaned)
        except ValueError as error:
            raise ValueError(f"tfidf: cannot fit on {len(cleaned)} texts: {error}") from None
        if matrix.shape[1] < 2:
            raise ValueError(f"tfidf: the {len(cleaned)} texts hold fewer than two different terms")
        svd = TruncatedSVD(min(self.dim, matrix.shape[1] - 1), random_state=self.seed).fit(matrix)
        table = torch.from_numpy(np.ascontiguousarray(svd.components_.T, np.float32))
        idf = torch.from_numpy(vectorizer.idf_.astype(np.float32))
        self._fitted(vectorizer.get_feature_names_out().tolist(), {"table": table, "idf": idf})
        return self

    def _settings(self) -> dict[str, Any]:
        return {"ngrams": self.ngrams, "max_terms": self.max_terms, "seed": self.seed}

    def _tensors(self) -> dict[str, Tensor]:
        return {"table": self.table, "idf": self.idf}

    def _fitted(self, vocabulary: list[str], tensors: dict[str, Tensor]) -> None:
        if tensors.get("idf", torch.empty(0)).shape != (len(vocabulary),):
            raise WeightsError("tfidf: model.safetensors holds no idf of the vocabulary's length")
        self._take_table(vocabulary, tensors["table"])
        self.idf = tensors["idf"]
        vectorizer = _vectorizer(self.ngrams, vocabulary={term: i for i, term in enumerate(vocabulary)})
        vectorizer.idf_ = self.idf.double().numpy()
        self.preprocessing = _TfidfTerms(vectorizer)


class Word2VecEncoder(FittedEncoder):
    """The mean of a text's word vectors: ``word2vec``.

    Skip-gram with negative sampling by gensim; see Mikolov et al., https://arxiv.org/abs/1310.4546.

    Args:
        name: Nothing, or a label.
        weights: Folder that :meth:`save_pretrained` wrote; empty for an encoder to fit.
        dim: Length of a feature.
        window: Words on each side that a word is to predict.
        min_count: Rarer words are left out.
        epochs: Passes over the texts.
        seed: Of the training.

    Example:
        >>> encoder = Word2VecEncoder(dim=8, min_count=1).fit(["red wool hat", "blue wool hat"])
        >>> encoder.encode(["a red hat"]).shape
        torch.Size([1, 8])
    """

    kind = "word2vec"

    def __init__(
        self,
        name: str = "",
        weights: str = "",
        *,
        dim: int = 256,
        window: int = 5,
        min_count: int = 2,
        epochs: int = 10,
        seed: int = 0,
    ) -> None:
        self.window, self.min_count, self.epochs, self.seed = window, min_count, epochs, seed
        super().__init__(weights, dim)

    def fit(self, texts: Iterable[str]) -> Self:
        """Learn the words' vectors.

        Raises:
            ValueError: If no word occurs ``min_count`` times.
            ImportError: If gensim is not installed; it is in the extra ``classical``.
        """
        try:
            from gensim.models import Word2Vec
        except ImportError as error:
            raise ImportError("word2vec is fitted with gensim: pip install 'mmreason[classical]'") from error

        sentences = [_words(clean_text(text)) for text in texts]
        model = Word2Vec(
            vector_size=self.dim,
            window=self.window,
            min_count=self.min_count,
            sg=1,
            seed=self.seed,
            workers=1,  # with more, the order of updates and so the result is up to chance
        )
        model.build_vocab(sentences)
        if not model.wv.index_to_key:
            raise ValueError(f"word2vec: no word occurs {self.min_count} times in {len(sentences)} texts")
        model.train(sentences, total_examples=len(sentences), epochs=self.epochs)
        self._fitted(list(model.wv.index_to_key), {"table": torch.from_numpy(model.wv.vectors.copy())})
        return self

    def _settings(self) -> dict[str, Any]:
        names = ("window", "min_count", "epochs", "seed")
        return {name: getattr(self, name) for name in names}

    def _tensors(self) -> dict[str, Tensor]:
        return {"table": self.table}

    def _fitted(self, vocabulary: list[str], tensors: dict[str, Tensor]) -> None:
        self._take_table(vocabulary, tensors["table"])
        self.preprocessing = _MeanWords({word: i for i, word in enumerate(vocabulary)})


class _TfidfTerms:
    """Texts to the terms that a fitted vectorizer knows, with their weights."""

    def __init__(self, vectorizer: Any) -> None:
        self.vectorizer = vectorizer

    def __call__(self, raw: Any) -> dict[str, Tensor]:
        return self.many([raw])[0]

    def many(self, raws: Iterable[Any]) -> list[dict[str, Tensor]]:
        rows = self.vectorizer.transform([clean_text(raw) for raw in raws])
        ids, weights = torch.from_numpy(rows.indices).long(), torch.from_numpy(rows.data).float()
        spans = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
        return [{"ids": ids[a:b], "weights": weights[a:b]} for a, b in spans]


class _MeanWords:
    """Texts to the words of a vocabulary, all of one weight."""

    def __init__(self, places: dict[str, int]) -> None:
        self.places = places

    def __call__(self, raw: Any) -> dict[str, Tensor]:
        ids = [self.places[word] for word in _words(clean_text(raw)) if word in self.places]
        return {
            "ids": torch.tensor(ids, dtype=torch.long),
            "weights": torch.full((len(ids),), 1 / max(1, len(ids))),
        }

    def many(self, raws: Iterable[Any]) -> list[dict[str, Tensor]]:
        return [self(raw) for raw in raws]


def _vectorizer(ngrams: int, **options: Any) -> Any:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise ImportError("tfidf needs scikit-learn: pip install 'mmreason[classical]'") from error
    return TfidfVectorizer(token_pattern=_TOKEN, ngram_range=(1, ngrams), sublinear_tf=True, **options)


def _words(text: str) -> list[str]:
    return re.findall(_TOKEN, text.lower())
