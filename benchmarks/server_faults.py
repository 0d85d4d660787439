"""A bulk job whose language model is a server that answers 429, 500, slowly and with truncated JSON."""

from __future__ import annotations

import json
from pathlib import Path

from generate_scale import pairs, shop_config
from openai_server import FAULTS, FaultyServer, serving

from mmreason.bulk.parts import read_parts
from mmreason.bulk.worded import NAME as WORDED
from mmreason.config import Config
from mmreason.config_reasons import BackendConfig


def answer(message: str) -> str:
    """A sentence that says the facts of a plan in words: the same for the same plan."""
    lines = dict(line.split(": ", 1) for line in message.splitlines() if ": " in line)
    facts = dict(fact.split(" ", 1) for fact in lines.get("Say", "").split(", ") if " " in fact)
    color, thing = facts.get("color", ""), lines["Thing"]
    material = f" made of {facts['material']}" if "material" in facts else ""
    return f"A {color} {thing}{material}.".replace("  ", " ")


def same_rows(shop: Path, requests: int, rate: float = 0.3) -> bool:
    """Whether a job has just the rows over a server that fails that it has over one that does not.

    No words are taken over from the one to the other, and every fault has to have happened.

    Args:
        shop: A run of the made shop, up to its evidence.
        requests: Pairs.
        rate: How often the server fails.
    """
    from mmreason.generate.job import generate  # takes seconds, which a job that is killed does not have

    path = shop / "asked.jsonl"
    path.write_text("".join(json.dumps({"user_id": u, "item_id": i}) + "\n" for u, i in pairs(requests)))
    tables = []
    for name, faults in (("good", ()), ("bad", FAULTS)):
        with serving(FaultyServer(faults, rate, answer)) as server:
            config = server_config(shop, path, name, server.url)
            config.path("generate", WORDED).unlink(missing_ok=True)
            print(generate(config))
            tables.append(read_parts(config.path("generate", name)))
    asked = [*zip(tables[1]["user_id"].to_pylist(), tables[1]["item_id"].to_pylist(), strict=True)]
    by_server = sum(writer == "lm" for writer in tables[1]["writer"].to_pylist())
    did = ", ".join(f"{count:,} {what}" for what, count in server.did.most_common())
    print(f"the server: {did}; {by_server:,} of {requests:,} reasons are its words")
    whole = asked == [*pairs(requests)] and not any(tables[1]["error"].to_pylist())
    failed = all(server.did[fault] for fault in FAULTS)
    return whole and failed and bool(by_server) and tables[0].equals(tables[1])


def server_config(shop: Path, path: Path, name: str, url: str) -> Config:
    """A job of the shop whose language model is a server."""
    config = shop_config(shop)
    config.generate.requests, config.generate.name, config.generate.part_size = str(path), name, 64
    config.generate.writers = ["lm", "template", "extract"]
    config.generate.backend = BackendConfig("openai", url, "tiny", timeout=0.5)
    return config
