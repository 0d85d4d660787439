"""Decoding, verification, the reasoner, requests and the stage."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmreason import DataError, Interaction, Item, Reason, Reasoner, User
from mmreason.bulk.attempts import Attempts
from mmreason.bulk.parts import read_progress
from mmreason.catalogue.catalogue import Catalogue, read_catalogue
from mmreason.config import Config, VerifyConfig
from mmreason.evidence.claims import Vocabulary
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.job import dry_run, generate, read_job
from mmreason.generate.ladder import Request as Asked
from mmreason.generate.requests import Behaviours, Keys, read_requests
from mmreason.generate.verify import verify
from mmreason.pipeline import run
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
    written = writer.write_all([Asked(case, []) for case in cases], embeddings, batch_size=4)
    for case, texts in zip(cases, written, strict=True):
        assert isinstance(texts, list)
        [candidate] = texts
        [prompt] = writer._prompts([case], embeddings)
        out = writer.model.lm.generate(
            inputs_embeds=prompt[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=writer.max_new_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        assert candidate.text == writer.tokenizer.decode(out[0], skip_special_tokens=True).strip()
        assert candidate.score is not None and candidate.score < 0


def test_what_is_not_a_number_costs_its_own_request_alone(
    reasoner: Reasoner, requests: list[tuple[User, Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, some = reasoner.embeddings, requests[:4]
    assert embeddings is not None
    broken, get = some[1][1].id, embeddings.get

    def broken_get(name: str, ids: list[str]) -> np.ndarray:
        return np.where([[i == broken] for i in ids], np.float32("nan"), get(name, ids))

    monkeypatch.setattr(embeddings, "get", broken_get)
    with pytest.raises(DataError, match=f"item {broken!r}: what the language model computes is not a number"):
        list(reasoner.explain_many(some))
    found = Attempts(lambda pairs: list(reasoner.explain_many(pairs)))(some)
    told = [each if isinstance(each, str) else each.reason for each in reasoner.try_many(some)]
    assert told == found
    of_broken = [broken in (item.id, *(step.item_id for step in user.history)) for user, item in some]
    assert 1 <= sum(of_broken) < 4
    assert [isinstance(each, str) and "not a number" in each for each in found] == of_broken
    monkeypatch.undo()
    texts = [reason.text for reason in reasoner.explain_many(some)]
    good = [(each, text) for each, text in zip(found, texts, strict=True) if isinstance(each, Reason)]
    assert len(good) == 4 - sum(of_broken) and all(each.text == text for each, text in good)


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


def test_explain_many_streams(
    reasoner: Reasoner, requests: list[tuple[User, Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal taken
        while True:
            taken += 1
            yield requests[taken % len(requests)]

    monkeypatch.setattr("mmreason.generate.reasoner.WINDOW", 16)
    stream = reasoner.explain_many(endless(), batch_size=2)
    next(stream)
    assert taken == 16  # one window, no more


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


def _asking(config: Config, path: Path, *rows: tuple[str, str]) -> Config:
    pq.write_table(pa.table({"user_id": [u for u, _ in rows], "item_id": [i for _, i in rows]}), path)
    return replace(config, generate=replace(config.generate, requests=str(path)))


def test_requests_from_a_file(tiny_run: Config, tmp_path: Path) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    item, user = next(iter(catalogue.items)), catalogue.interactions[0].user_id
    config = _asking(tiny_run, tmp_path / "requests.parquet", (user, item), ("stranger", item))
    (known, _), (stranger, _) = _pairs(config, catalogue)
    assert known.history and not stranger.history
    path = tmp_path / "requests.jsonl"
    path.write_text('{"name": "x"}')
    with pytest.raises(DataError, match=r"requests\.jsonl: no column looks like user_id; there are name"):
        list(read_requests(_reading(tiny_run, path), catalogue))
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        list(read_requests(_reading(tiny_run, tmp_path / "gone.csv"), catalogue))


def _pairs(config: Config, catalogue: Catalogue) -> list[tuple[User, Item]]:
    behaviours = Behaviours(catalogue)
    return [behaviours.pair(asked) for asked in read_requests(config, catalogue, behaviours)]


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
    assert [(each.user_id, each.item_id) for each in read] == [("0", items[0]), ("1", items[1])]


def test_an_id_written_with_a_gaps_point_is_the_catalogues(tmp_path: Path, tiny_run: Config) -> None:
    catalogue = Catalogue(
        {"1": Item(id="1", title="Cup"), "2.0": Item(id="2.0", title="Hat")},
        [Interaction("7", "1", timestamp=1.0)],
        [],
        tmp_path,
    )
    (tmp_path / "requests.csv").write_text("user_id,item_id\n7.0,2.0\nann,1.0\n7,1\n")
    read = read_requests(_reading(tiny_run, tmp_path / "requests.csv"), catalogue)
    assert [(each.user_id, each.item_id) for each in read] == [("7", "2.0"), ("ann", "1"), ("7", "1")]


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
    users = [each.user_id for each in read_requests(_reading(tiny_run, path), catalogue)]
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
    """The pairs of the test split, asked for by a file, are the same requests, with the histories of the shards."""
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    samples = list(reason_samples(tiny_run.path("shards"), "test"))
    of_split = [(sample.user, catalogue.items[sample.reason.item_id]) for sample in samples]
    assert _pairs(tiny_run, catalogue) == of_split
    rows = [(user.id, item.id) for user, item in of_split]
    assert _pairs(_asking(tiny_run, tmp_path / "r.parquet", *rows), catalogue) == of_split


def test_a_target_that_was_clicked_is_not_its_own_evidence(tiny_run: Config, tmp_path: Path) -> None:
    catalogue = read_catalogue(tiny_run.path("catalogue"))
    user = catalogue.interactions[0].user_id
    steps = [step for step in catalogue.interactions if step.user_id == user]
    target = steps[1].item_id
    ((asked, _),) = _pairs(_asking(tiny_run, tmp_path / "r.parquet", (user, target)), catalogue)
    assert [step.item_id for step in asked.history] == [steps[0].item_id]


def test_a_key_holds_what_a_reason_depends_on(tiny_run: Config) -> None:
    items = read_catalogue(tiny_run.path("catalogue")).items
    store = EmbeddingStore.open(tiny_run.path("embed"))
    first, second, third = list(items.values())[:3]

    evidence = EvidenceStore.open(tiny_run.path("evidence"))

    def key(item: Item = first, count: int = 1, others: dict[str, Item] = items, model: str = "m") -> str:
        user = User("u", [Interaction(item_id=second.id, count=count)])
        return Keys(others, evidence, store, {"model": model}).of((user, item))

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
    (user, item), (other, another) = _pairs(config, catalogue)[:2]
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


def _copied(tiny_run: Config, tmp_path: Path) -> Config:
    shutil.copytree(tiny_run.run_dir, tmp_path / "run")
    return replace(tiny_run, run_dir=str(tmp_path / "run"))


def test_a_changed_setting_is_shown_before_anything_is_done_again(
    tiny_run: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _copied(tiny_run, tmp_path)
    total = len(read_job(config))
    changed = replace(config, generate=replace(config.generate, writers=["template"]))
    told = dry_run(changed).splitlines()
    assert told[:3] == [
        f"requests       {total:>13,}",
        f"there already  {0:>13,}",
        f"to be written  {total:>13,}",
    ]
    assert any("setting generate.writers" in line for line in told)
    assert "measured on" in told[-2] and " GB (" in told[-1]
    assert read_job(config).equals(read_job(tiny_run)), "a dry run writes nothing"
    generate(changed)
    said = capsys.readouterr().err
    assert (
        "generate: setting generate.writers" in said and f"{total} of {total} rows are to be written" in said
    )
    generate(changed)
    assert "setting" not in capsys.readouterr().err
    assert dry_run(changed).splitlines()[2:] == [f"to be written  {0:>13,}"]


def test_a_job_notes_what_is_sensitive(tiny_run: Config, tmp_path: Path) -> None:
    config, noted = _copied(tiny_run, tmp_path), []
    path = config.path("evidence", "concepts.parquet")
    for name, kind in (("of no item", ""), ("nor this", "health")):
        concepts = pq.read_table(path)
        row = {
            "id": f"~{name}",
            "name": name,
            "value": name,
            "items": 0,
            "popularity": 0.0,
            "sensitive": kind,
        }
        pq.write_table(pa.concat_tables([concepts, pa.Table.from_pylist([row], concepts.schema)]), path)
        generate(config)
        noted.append(read_progress(config.path("generate", "test"))["sensitive"])
    assert noted[0] != noted[1] and noted[0] == read_progress(tiny_run.path("generate", "test"))["sensitive"]


def test_time_that_is_up_leaves_the_stage_undone_and_the_next_run_goes_on(
    tiny_run: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmreason.bulk.windows.WINDOW", 1)
    config = _copied(tiny_run, tmp_path)
    total = len(read_job(config))
    asks = replace(config.generate, writers=["template"], max_seconds=1e-9, part_size=2)
    assert run(replace(config, generate=asks)) is None
    out = capsys.readouterr().out
    assert f"with {total - 2} of {total} requests left; run the same command again" in out
    assert "evaluate" not in out
    assert run(replace(config, generate=replace(asks, max_seconds=0))) is not None
    assert "(2 were answered already)" in capsys.readouterr().out and len(read_job(config)) == total


def test_an_unknown_writer_changes_nothing(tiny_run: Config, tmp_path: Path) -> None:
    config = _copied(tiny_run, tmp_path)
    before = {path: path.read_bytes() for path in config.path("generate").rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="there is no writer 'templat'"):
        generate(replace(config, generate=replace(config.generate, writers=["templat"])))
    assert {p: p.read_bytes() for p in config.path("generate").rglob("*") if p.is_file()} == before


def test_items_for_every_user(tiny_run: Config, tmp_path: Path) -> None:
    config = _copied(tiny_run, tmp_path)
    catalogue = read_catalogue(config.path("catalogue"))
    asks = replace(config, generate=replace(config.generate, top_k=2, writers=["template"]))
    asked = list(read_requests(asks, catalogue))
    users = {step.user_id for step in catalogue.interactions}
    assert {each.user_id for each in asked} == users and len(asked) == 2 * len(users)
    generate(asks)
    assert len(read_job(asks)) == len(asked) and asks.generate.job == "top-2"
    with pytest.raises(DataError, match="name one of them"):
        list(read_requests(_reading(asks, tmp_path / "r.csv"), catalogue))
