"""Decoding, verification, the reasoner and the bulk job."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmreason import DataError, Interaction, Item, Reason, Reasoner, User
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.config import Config, VerifyConfig
from mmreason.evidence.claims import Vocabulary
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.job import generate, read_job, read_parts, run_job
from mmreason.generate.requests import read_requests, request_keys
from mmreason.generate.verify import verify
from mmreason.shards.loader import reason_samples
from mmreason.store.store import EmbeddingStore


@pytest.fixture(scope="module")
def reasoner(tiny_run: Config) -> Reasoner:
    items = read_catalogue(tiny_run.path("catalogue")).items
    store = EmbeddingStore.open(tiny_run.path("embed"))
    return Reasoner.from_pretrained(
        tiny_run.path("reason"), items=items, store=store, device="cpu", dtype="fp32", max_new_tokens=12
    )


@pytest.fixture(scope="module")
def requests(tiny_run: Config, reasoner: Reasoner) -> list[tuple[User, Item]]:
    samples = reason_samples(tiny_run.path("shards"), "test")
    return [(s.user, reasoner.items[s.reason.item_id]) for s in samples]


def test_the_lm_writes_what_hugging_faces_generate_gives_one_at_a_time(
    reasoner: Reasoner, requests: list[tuple[User, Item]]
) -> None:
    writer, embeddings = reasoner.lm, reasoner.embeddings
    assert writer is not None and embeddings is not None
    cases = reasoner.cases(requests[:9])
    written = writer.write_all(cases, embeddings, batch_size=4)
    for case, [candidate] in zip(cases, written, strict=True):
        [prompt] = writer._prompts([case], embeddings)
        out = writer.model.lm.generate(
            inputs_embeds=prompt[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=writer.max_new_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        assert candidate.text == writer.tokenizer.decode(out[0], skip_special_tokens=True).strip()
        assert candidate.score < 0


def test_what_is_not_a_number_costs_its_own_request_alone(
    reasoner: Reasoner, requests: list[tuple[User, Item]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, some = reasoner.embeddings, requests[:4]
    assert embeddings is not None
    broken, get = some[1][1].id, embeddings.get

    def broken_get(name: str, ids: list[str]) -> np.ndarray:
        return np.where([[i == broken] for i in ids], np.float32("nan"), get(name, ids))

    monkeypatch.setattr(embeddings, "get", broken_get)
    with pytest.raises(DataError, match=f"item {broken!r}: what the language model computes is not a number"):
        list(reasoner.explain_many(some))
    run_job(some, ["a", "b", "c", "d"], lambda pairs: list(reasoner.explain_many(pairs)), tmp_path, 4)
    rows = read_parts(tmp_path).to_pylist()
    of_broken = [broken in (item.id, *(step.item_id for step in user.history)) for user, item in some]
    assert 1 <= sum(of_broken) < 4
    assert ["not a number" in (row["error"] or "") for row in rows] == of_broken
    monkeypatch.undo()
    texts = [reason.text for reason in reasoner.explain_many(some)]
    assert [row["text"] for row, bad in zip(rows, of_broken, strict=True) if not bad] == [
        text for text, bad in zip(texts, of_broken, strict=True) if not bad
    ]


def test_batched_equals_single(reasoner: Reasoner, requests: list[tuple[User, Item]]) -> None:
    together = [r.text for r in reasoner.explain_many(requests, batch_size=5)]
    assert together == [reasoner.explain(user, item).text for user, item in requests]


def test_explain_works_on_items_and_histories_of_no_catalogue(tiny_run: Config) -> None:
    reasoner = Reasoner.from_pretrained(tiny_run.path("reason"), device="cpu", dtype="fp32", max_new_tokens=4)
    user = User("u", [Interaction(event="purchase", item=Item("h", title="Wool hat"))])
    reason = reasoner.explain(user, Item("a", title="Rain coat"))
    assert isinstance(reason, Reason) and reason.item_id == "a" and reason.verified is not None
    with pytest.raises(DataError, match="history item 'b' is unknown"):
        reasoner.explain(User("u", [Interaction(item_id="b")]), Item("a", title="Rain coat"))


def test_explain_many_streams(reasoner: Reasoner, requests: list[tuple[User, Item]]) -> None:
    taken = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal taken
        while True:
            taken += 1
            yield requests[taken % len(requests)]

    stream = reasoner.explain_many(endless(), batch_size=2)
    next(stream)
    assert taken == 16  # one window of eight batches, no more


ITEM = Item("a", "Coat", attributes={"material": ["Wool"]}, hidden={"color": ["red"]})
HAT = Item("h", "Hat", attributes={"material": ["wool"]}, hidden={"color": ["red"]})
WORDS = Vocabulary.of([ITEM, HAT, Item("x", attributes={"material": ["cotton"]}, hidden={"color": ["blue"]})])


def test_verify_binds_claims_to_catalogue_picture_and_history() -> None:
    shown = {"a": {"color": "red"}, "h": {"color": "red"}}
    text = "You like wool and red, and this coat is red wool."
    evidence, verified = verify(text, ITEM, [HAT], WORDS, shown)
    assert verified
    assert [(e.attribute, e.value, e.source, e.item_ids) for e in evidence] == [
        ("material", "wool", "attribute", ["h"]),
        ("color", "red", "picture", ["h"]),
        ("color", "red", "picture", ["h"]),
        ("material", "wool", "attribute", ["h"]),
    ]
    assert [text[slice(*e.span)] for e in evidence if e.span] == ["wool", "red", "red", "wool"]


def test_verify_never_looks_at_hidden_facts() -> None:
    evidence, verified = verify("It is red.", ITEM, [], WORDS, {"a": {"color": "blue"}})
    assert not verified and evidence[0].source == "none"


def test_a_false_claim_or_no_claim_is_not_verified() -> None:
    shown = {"a": {"color": "red"}}
    assert not verify("Red cotton.", ITEM, [], WORDS, shown)[1]
    assert not verify("You will love it.", ITEM, [], WORDS, shown)[1]


Pairs = list[tuple[User, Item]]
REQUESTS = [(User(f"u{n}"), Item(f"i{n}", title=f"T{n}")) for n in range(10)]


class Writer:
    """Writes a row for each request, and remembers which it was asked for."""

    def __init__(self, dies_after: int = 1_000_000) -> None:
        self.asked: list[str] = []
        self.dies_after = dies_after

    def __call__(self, part: Pairs) -> list[Reason]:
        if len(self.asked) + len(part) > self.dies_after:
            raise KeyboardInterrupt
        self.asked += [item.id for _, item in part]
        return [Reason(u.id, i.id, f"{i.title} for {u.id}", score=0.5, verified=True) for u, i in part]


def _job(
    requests: Pairs, folder: Path, write: Callable | None = None, model: str = "a", size: int = 4
) -> int:
    keys = [f"{model}-{user.id}-{item.id}-{item.title}" for user, item in requests]
    return run_job(requests, keys, write or Writer(), folder, size)


def _texts(folder: Path) -> list[str]:
    table = read_parts(folder)
    assert table["request"].to_pylist() == list(range(len(table)))
    return table["text"].to_pylist()


def test_a_job_writes_one_row_per_request_and_only_what_is_missing(tmp_path: Path) -> None:
    assert _job(REQUESTS, tmp_path) == 0
    first = read_parts(tmp_path)
    assert first["text"].to_pylist() == [f"T{n} for u{n}" for n in range(10)]
    (tmp_path / "part-000001.parquet").unlink()
    with pytest.raises(DataError, match=r"not exactly one row per request \(6 of 10\)"):
        read_parts(tmp_path)
    assert _job(REQUESTS, tmp_path) == 6
    assert read_parts(tmp_path).equals(first)


def test_another_models_rows_are_not_mixed_in(tmp_path: Path) -> None:
    _job(REQUESTS, tmp_path)
    assert _job(REQUESTS[:5], tmp_path, model="b") == 0
    assert len(read_parts(tmp_path)) == 5


NEW = (User("new"), Item("new", title="New"))
CHANGED = (REQUESTS[6][0], Item("i6", title="Better"))


@pytest.mark.parametrize(
    ("requests", "size", "asked"),
    [
        ([NEW, *REQUESTS], 4, ["new"]),
        ([*REQUESTS, NEW], 4, ["new"]),
        ([*REQUESTS[:6], CHANGED, *REQUESTS[7:]], 4, ["i6"]),
        (REQUESTS[1:], 4, []),
        (REQUESTS, 3, []),
        ([*REQUESTS[::-1], NEW], 5, ["new"]),
        ([*REQUESTS, REQUESTS[0]], 4, []),
    ],
    ids=["first", "last", "changed", "removed", "other part size", "other order", "twice"],
)
def test_only_changed_requests_are_written_again(
    requests: Pairs, size: int, asked: list[str], tmp_path: Path
) -> None:
    _job(REQUESTS, tmp_path / "again")
    writer = Writer()
    done = _job(requests, tmp_path / "again", writer, size=size)
    assert writer.asked == asked and done == len(requests) - len(asked)
    _job(requests, tmp_path / "fresh", size=size)
    again, fresh = (
        {path.name: pq.read_table(path) for path in (tmp_path / name).glob("*.parquet")}
        for name in ("again", "fresh")
    )
    assert again.keys() == fresh.keys() and all(again[name].equals(fresh[name]) for name in fresh)
    assert not (tmp_path / "again" / "before").exists()


@pytest.mark.parametrize("dies_after", range(0, 11, 2))
def test_a_job_killed_anywhere_keeps_the_rows_it_can(dies_after: int, tmp_path: Path) -> None:
    """The requests change, the job dies, and they change again: rows are written once, and none is lost."""
    _job(REQUESTS[:6], tmp_path, size=3)
    writer, more = Writer(dies_after), [NEW, *REQUESTS]
    try:
        _job(more, tmp_path, writer, size=2)
    except KeyboardInterrupt:
        assert (tmp_path / "before").exists()
    second = Writer()
    _job([CHANGED, *more], tmp_path, second, size=4)
    assert len(_texts(tmp_path)) == len(more) + 1
    written = [*writer.asked, *second.asked]
    assert sorted(written) == sorted(["i6", "new", *(f"i{n}" for n in range(6, 10))])


def test_a_damaged_part_is_written_again(tmp_path: Path) -> None:
    _job(REQUESTS, tmp_path)
    (tmp_path / "part-000000.parquet").write_bytes(b"PAR1 and no more")
    assert _job(REQUESTS, tmp_path) == 6
    assert _texts(tmp_path) == [f"T{n} for u{n}" for n in range(10)]


def test_one_bad_request_costs_one_row(tmp_path: Path) -> None:
    def write(part: list[tuple[User, Item]]) -> list[Reason]:
        for _, item in part:
            if item.id == "i5":
                raise DataError("item 'i5': picture unreadable")
        return [Reason(u.id, i.id, "fine") for u, i in part]

    _job(REQUESTS, tmp_path, write)
    table = read_parts(tmp_path).to_pylist()
    assert [row["request"] for row in table if row["error"]] == [5]
    assert table[5]["error"] == "item 'i5': picture unreadable" and table[5]["text"] == ""
    assert sum(row["text"] == "fine" for row in table) == 9


def _asking(config: Config, path: Path, *rows: tuple[str, str]) -> Config:
    pq.write_table(pa.table({"user_id": [u for u, _ in rows], "item_id": [i for _, i in rows]}), path)
    return replace(config, generate=replace(config.generate, requests=str(path)))


def test_requests_from_a_file(tiny_run: Config, tmp_path: Path) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    item, user = next(iter(catalogue.items)), catalogue.interactions[0].user_id
    config = _asking(tiny_run, tmp_path / "requests.parquet", (user, item), ("stranger", item))
    (known, _), (stranger, _) = read_requests(config, catalogue)
    assert known.history and not stranger.history
    path = tmp_path / "requests.jsonl"
    path.write_text('{"name": "x"}')
    with pytest.raises(DataError, match=r"requests\.jsonl: no column looks like user_id; there are name"):
        list(read_requests(_reading(tiny_run, path), catalogue))
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        list(read_requests(_reading(tiny_run, tmp_path / "gone.csv"), catalogue))


def _reading(config: Config, path: Path) -> Config:
    return replace(config, generate=replace(config.generate, requests=str(path)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "user_id,item_id\n0,{0}\n1,{1}\n"),
        ("r.tsv", "item\tUser\n{0}\t0\n{1}\t1\n"),
        ("R.JSONL", '{{"user_id": 0, "item_id": "{0}"}}\n{{"user_id": 1.0, "item_id": "{1}"}}\n'),
        ("r.jsonl", '[{{"user_id": "0", "item_id": "{0}"}}, {{"user_id": " 1", "item_id": "{1}"}}]'),
        (
            "r.json",
            '[\n {{\n  "user_id": "0",\n  "item_id": "{0}"\n }},\n {{"user_id": "1", "item_id": "{1}"}}\n]\n',
        ),
        ("r.csv.gz", "user_id;item_id\n0.0;{0}\n1.0;{1}\n"),
    ],
)
def test_requests_in_any_format(tiny_run: Config, tmp_path: Path, name: str, content: str) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    items = list(catalogue.items)[:2]
    data = content.format(*items).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    read = read_requests(_reading(tiny_run, tmp_path / name), catalogue)
    assert [(user.id, item.id) for user, item in read] == [("0", items[0]), ("1", items[1])]


def test_an_id_written_with_a_gaps_point_is_the_catalogues(tmp_path: Path, tiny_run: Config) -> None:
    catalogue = Catalogue(
        {"1": Item(id="1", title="Cup"), "2.0": Item(id="2.0", title="Hat")},
        [Interaction("7", "1", timestamp=1.0)],
        [],
        tmp_path,
    )
    (tmp_path / "requests.csv").write_text("user_id,item_id\n7.0,2.0\nann,1.0\n7,1\n")
    read = read_requests(_reading(tiny_run, tmp_path / "requests.csv"), catalogue)
    assert [(user.id, item.id) for user, item in read] == [("7", "2.0"), ("ann", "1"), ("7", "1")]


def test_an_empty_requests_file_is_said(
    tmp_path: Path, tiny_run: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("", "user_id,item_id\n"):
        (tmp_path / "none.csv").write_text(text)
        config = _reading(tiny_run, tmp_path / "none.csv")
        assert list(read_requests(config, Catalogue({}, [], [], tmp_path))) == []
        assert "none.csv: holds no request" in capsys.readouterr().err


def test_words_for_no_user_are_no_user(tiny_run: Config, tmp_path: Path) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    item = next(iter(catalogue.items))
    path = tmp_path / "requests.csv"
    path.write_text(f"user_id,item_id\nnan,{item}\nNone,{item}\nNA,{item}\n")
    users = [user.id for user, _ in read_requests(_reading(tiny_run, path), catalogue)]
    assert users == ["", "", "NA"]


def test_every_row_of_a_requests_file_is_a_row_of_the_job(tiny_run: Config, tmp_path: Path) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    item, user = next(iter(catalogue.items)), catalogue.interactions[0].user_id
    rows = [
        {"user_id": user, "item_id": item},
        {"user_id": user, "item_id": "nope"},
        {"user_id": None, "item_id": item},
        {"user_id": "stranger", "item_id": item},
        {"user_id": user},
        {"user_id": ["x"], "item_id": item},
        {"user_id": user, "item_id": item},
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '"text"\n{broken\n')
    config = _reading(replace(tiny_run, run_dir=str(tmp_path / "run")), path)
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    summary = generate(config)
    assert "9 requests" in summary and "5 failed; 1 of users without a history, 1 without a user" in summary
    table = read_job(config).to_pylist()
    assert [row["error"] for row in table] == [
        *(None, "item 'nope' is not in the catalogue", None, None, "no item id"),
        *("a list where one value is wanted", None, "not a JSON object", "not a JSON object"),
    ]
    assert table[0]["text"] == table[6]["text"] and table[2]["user_id"] == ""
    assert "(9 were answered already)" in generate(config)


def test_a_requests_file_gives_the_histories_that_training_sees(tiny_run: Config, tmp_path: Path) -> None:
    """The pairs of the test split, asked for by a file, are the same requests."""
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    of_split = list(read_requests(tiny_run, catalogue))
    rows = [(user.id, item.id) for user, item in of_split]
    assert list(read_requests(_asking(tiny_run, tmp_path / "r.parquet", *rows), catalogue)) == of_split


def test_a_target_that_was_clicked_is_not_its_own_evidence(tiny_run: Config, tmp_path: Path) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    user = catalogue.interactions[0].user_id
    steps = [step for step in catalogue.interactions if step.user_id == user]
    target = steps[1].item_id
    ((asked, _),) = read_requests(_asking(tiny_run, tmp_path / "r.parquet", (user, target)), catalogue)
    assert [step.item_id for step in asked.history] == [steps[0].item_id]


def test_a_key_holds_what_a_reason_depends_on(tiny_run: Config) -> None:
    items = read_catalogue(tiny_run.path("catalogue")).items
    store = EmbeddingStore.open(tiny_run.path("embed"))
    first, second, third = list(items.values())[:3]

    evidence = EvidenceStore.open(tiny_run.path("evidence"))

    def key(item: Item = first, count: int = 1, others: dict[str, Item] = items, model: str = "m") -> str:
        user = User("u", [Interaction(item_id=second.id, count=count)])
        return request_keys([(user, item)], others, evidence, store, model)[0]

    changed = replace(second, attributes={"material": ["felt"]})
    keys = [
        key(),
        key(third),
        key(replace(first, title="Other")),
        key(count=2),
        key(others={second.id: changed}),
        key(model="other"),
    ]
    assert len(set(keys)) == len(keys) and key() == keys[0]
    assert key(replace(first, hidden={"color": ["mauve"]})) == keys[0], "hidden facts are never looked at"


def test_jobs_have_folders_of_their_own(tiny_run: Config, tmp_path: Path) -> None:
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    catalogue = read_catalogue(config.path("catalogue"))
    (user, item), (other, another) = list(read_requests(config, catalogue))[:2]
    one = _asking(config, tmp_path / "one.parquet", (user.id, item.id))
    two = _asking(config, tmp_path / "two.parquet", (other.id, another.id), (user.id, item.id))
    generate(one)
    generate(two)
    assert [len(read_job(each)) for each in (one, two, config)] == [1, 2, len(read_job(tiny_run))]
    assert read_job(two, "one").equals(read_job(one))
    assert read_job(two)["text"][1] == read_job(one)["text"][0]
    with pytest.raises(DataError, match="no name of a folder"):
        generate(replace(config, generate=replace(config.generate, name="../elsewhere")))


def test_without_a_language_model_reasons_come_from_the_evidence(tiny_run: Config, tmp_path: Path) -> None:
    config = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, config.run_dir)
    shutil.rmtree(config.path("reason"))
    assert "no language model took part, as none was trained" in generate(config)
    rows = read_job(config).to_pylist()
    assert {row["writer"] for row in rows} <= {"template", "extract", ""}
    assert any(row["level"] == "personal" and row["verified"] for row in rows)
    assert all(bool(row["text"]) == (row["level"] != "nothing") for row in rows)


def test_generate_reports_what_was_there(tiny_run: Config) -> None:
    total = len(read_job(tiny_run))
    assert f"{total} requests ({total} were answered already)" in generate(tiny_run)


def test_an_inference_model_looks_at_every_reason(
    tiny_run: Config, tmp_path: Path, tiny_models: dict[str, str]
) -> None:
    """A random model is never sure, so nothing that says something gets past it, and the rows say why."""
    copied = replace(tiny_run, run_dir=str(tmp_path / "run"))
    shutil.copytree(tiny_run.run_dir, copied.run_dir)
    strict = replace(copied, verify=VerifyConfig(nli=tiny_models["nli"], entailment=0.999))
    assert "0 were answered already" in generate(strict)
    rows = read_job(strict).to_pylist()
    assert {row["level"] for row in rows} <= {"template", "nothing"}
    assert any("not entailed" in row["stopped"] or "contradicted" in row["stopped"] for row in rows)
    assert "0 were answered already" not in generate(strict)
