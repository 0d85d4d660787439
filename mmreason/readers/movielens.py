"""MovieLens in the ml-latest layout: ``movies.csv``, ``ratings.csv``, ``tags.csv``; descriptions joined by title.

The option ``texts`` names a CSV with columns ``title`` and ``description``; without it ``item.csv`` in the folder is
taken, if there. A title that two movies or two descriptions share is not joined, nor is a description that tells of
another year: no text is better than another movie's. A tag that two people gave to a movie is one of its attributes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from mmreason.config import Config
from mmreason.readers.delimited import csv_rows
from mmreason.readers.frames import csv_frames
from mmreason.readers.source import SourceRow, Tables
from mmreason.schema import DataError

_YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
_BRACKETS = re.compile(r"(?:\s*\([^()]*\))+\s*$")
_NAMED_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_ARTICLE = re.compile(r"^(.*), (the|a|an|le|la|les|l'|el|il|der|die|das)$")


@dataclass(frozen=True, slots=True)
class MovieLensOptions:
    """Options of the MovieLens reader.

    Args:
        texts: CSV of titles and descriptions to join by title; empty takes ``item.csv`` of the folder, if there.
    """

    texts: str = ""


def read(config: Config, options: MovieLensOptions) -> Tables:
    """Read a MovieLens folder.

    Raises:
        DataError: If there is no ``movies.csv``, or the file of ``texts`` is missing.
    """
    root = Path(config.catalogue.root)
    movies = _file(root, "movies")
    if not config.catalogue.root or movies is None:
        raise DataError(f"catalogue.root {str(root)!r} holds no movies.csv of MovieLens")
    texts = Path(options.texts) if options.texts else _file(root, "item")
    if texts is not None and not texts.is_file():
        raise DataError(f"catalogue.options.texts {texts} is not a file")
    ratings = _file(root, "ratings")
    return Tables(root, _items(movies, _tags(_file(root, "tags")), _texts(texts)), _ratings(ratings))


def _file(root: Path, name: str) -> Path | None:
    return next((path for end in (".csv", ".csv.gz") if (path := root / f"{name}{end}").is_file()), None)


def plain_title(title: str) -> str:
    """A title without year and other titles in brackets, its article in front, in small letters: what is joined by.

    Example:
        >>> plain_title("American President, The (1995)")
        'the american president'
    """
    bare = _BRACKETS.sub("", title).strip().lower() or title.lower()
    return _ARTICLE.sub(
        lambda match: f"{match[2]}{'' if match[2].endswith(chr(39)) else ' '}{match[1]}", bare
    )


def _texts(path: Path | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    for row in csv_rows(path) if path else ():
        if not row.problem:
            if not {"title", "description"} <= set(row.record):
                raise DataError(
                    f"{path} has no columns title and description; it has {', '.join(row.record)}"
                )
            title = plain_title(row.record["title"])
            texts[title] = "" if title in texts else row.record["description"].strip()
    return texts


def _text_of(title: str, year: str, texts: dict[str, str]) -> str:
    text = texts.get(plain_title(title), "")
    named = [int(found) for found in _NAMED_YEAR.findall(text)]
    return "" if year and named and all(abs(other - int(year)) > 1 for other in named) else text


def _tags(path: Path | None) -> dict[str, list[str]]:
    users: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in csv_rows(path) if path else ():
        if not row.problem:
            users[row.record["movieId"]][row.record["tag"].strip().lower()].add(row.record["userId"])
    return {movie: [tag for tag, by in tags.items() if len(by) > 1 and tag] for movie, tags in users.items()}


def _items(path: Path, tags: dict[str, list[str]], texts: dict[str, str]) -> Iterator[SourceRow]:
    sharing = Counter(plain_title(row.record["title"]) for row in csv_rows(path) if not row.problem)
    texts = {title: text for title, text in texts.items() if sharing[title] == 1}
    for row in csv_rows(path):
        if not row.problem:
            movie, title = row.record["movieId"], row.record["title"].strip()
            genres = [
                genre for genre in row.record["genres"].split("|") if genre and not genre.startswith("(")
            ]
            found = _YEAR.search(title)
            year = found[1] if found else ""
            facts: dict[str, Any] = {
                "genre": genres,
                "year": [year] if year else [],
                "tag": tags.get(movie, []),
            }
            row.record = {
                "id": movie,
                "title": title,
                "text": _text_of(title, year, texts),
                "attributes": {name: values for name, values in facts.items() if values},
                "domain": "video",
            }
        yield row


def _ratings(path: Path | None) -> Iterator[pl.DataFrame]:
    for frame in csv_frames(path) if path else ():
        if "movieId" in frame.columns:
            frame = frame.rename({"userId": "user_id", "movieId": "item_id"}).with_columns(
                event=pl.lit("rating")
            )
        yield frame
