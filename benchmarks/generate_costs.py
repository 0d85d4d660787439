"""What 100 million pairs need on one machine, on eight GPUs and on a hundred nodes: from costs measured here.

    python benchmarks/generate_costs.py                       # measures for a minute or two, then prints the tables
    python benchmarks/generate_costs.py --plot docs/scale.svg

Measured on this machine, one process: reading and keying a request and noting its row in the index (done once, by one
process), planning, wording and verifying a pair (done by all), reasons a second of the default LM, and the memory that
an item and a step of a history take in every process. And what it could save at most to word each plan once where
templates and extracts write, over pairs drawn by a power law: the time of those calls that had been made before.

GPUs are not measured here. Their time is computed from an LM's size and a GPU's published peak and bandwidth:

    reading a prompt      2 · parameters · tokens / (peak · share)
    writing a token       the larger of  2 · parameters / (peak · share)
                          and            (bytes of the weights / rows + bytes of a row's keys and values) / bandwidth

and is at least what passes of the smallest kernels take, which ``generate_limit.py`` measured on one H200.

``share`` is how much of the peak is reached; the engine's own, on a CPU, is what ``generate_limit.py`` prints.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import psutil
import pyarrow as pa
from generate_scale import (
    COLORS,
    FEATURES,
    MATERIALS,
    THINGS,
    in_own_process,
    make_shop,
    pairs,
    peak,
    shop_config,
)
from generate_shared import ACTIVITY, POPULARITY, weights
from jsonargparse import auto_cli
from sharing_law import Law, expected_distinct

from mmreason.bulk import index
from mmreason.bulk.asked import Asked
from mmreason.bulk.job import Job, Outlook
from mmreason.bulk.worded import Worded, WordedPlans
from mmreason.catalogue.catalogue import Catalogue, read_catalogue, write_catalogue
from mmreason.evidence.schema import Candidate, Case, Plan
from mmreason.evidence.store import EvidenceStore
from mmreason.generate.reasoner import Reasoner
from mmreason.generate.requests import Behaviours, Keys, read_requests
from mmreason.generate.writers import Writer
from mmreason.schema import Interaction, Item

HOUR = 3600.0


@dataclass(frozen=True)
class Lm:
    """A decoder LM in bf16: its name, parameters, and bytes of keys and values a token."""

    name: str
    parameters: float
    cache: float


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet: dense bf16 operations a second, and bytes a second."""

    name: str
    peak: float
    bandwidth: float


@dataclass(frozen=True)
class Costs:
    """Seconds of one core.

    Attributes:
        once: A request costs whoever leads the job: read, keyed, noted in the index.
        pair: Planning, wording by templates and verifying a pair.
        lm: Writing a text with the default LM on this CPU.
        item: Bytes of an item in memory.
        step: Bytes of an interaction in memory.
    """

    once: float
    pair: float
    lm: float
    item: float = 0.0
    step: float = 0.0


LMS = (Lm("135M", 135e6, 23_040), Lm("8B", 8.2e9, 147_456))
H100 = Gpu("H100 SXM", 989e12, 3.35e12)
READ, WRITTEN = 110, 45  # tokens of a prompt and of a text, on average as in generate_throughput.py
ROWS = 391  # decoded together on a GPU: on average in 512 slots, by generate_limit.py on an H200
PASS = 0.0196  # seconds of a pass there with an LM of 135M: its kernels take longer to be started than to run


def main(
    wanted: float = 1e8,
    requests: int = 4000,
    decoded: int = 96,
    repeated: int = 20_000,
    share: float = 0.4,
    cores: int = 64,
    items: int = 1_000_000,
    steps: int = 200_000_000,
    plot: str = "",
) -> None:
    """Measure and print.

    Args:
        wanted: Pairs.
        requests: Measured with templates.
        decoded: Texts measured with the default LM; 0 measures none.
        repeated: Pairs by a power law, for what templates word again; 0 measures none.
        share: Of a GPU's peak that is reached.
        cores: Of a machine.
        items: Of the catalogue, for what is said once and for memory.
        steps: Of all histories, for memory.
        plot: File for a plot of hours by nodes.
    """
    costs = measure(requests, decoded, repeated)
    told = f"once {1e6 * costs.once:,.0f} µs a request, a pair {1e3 * costs.pair:,.2f} ms of one core"
    print(f"measured: {told}, a text by the default LM {costs.lm:,.2f} s of one core")
    held = (items * costs.item + steps * costs.step) / 1e9
    print(
        f"measured: {costs.item:,.0f} bytes an item, {costs.step:,.0f} a step of a history, in every process"
    )
    print(f"computed: {held:,.0f} GB a process for {items:,} items and {steps:,} steps")
    law = Law(items=items)
    said = expected_distinct(law, wanted) / wanted
    print(
        f"said once: {said:.0%} of {wanted:,.0f} texts over {items:,} items are left to decode (sharing_law.py)"
    )
    for lm in LMS:
        seconds = gpu_seconds(lm, H100, share)
        print(f"computed: {lm.name} on one {H100.name} at {share:.0%}: {1 / seconds:,.0f} texts/s")
    print(f"\nhours for {wanted:,.0f} pairs")
    columns = ["templates", *(f"{lm.name}, {how}" for lm in LMS for how in ("every pair", "said once"))]
    print(f"{'':34}{'once':>8}" + "".join(f"{name:>18}" for name in columns))
    for name, nodes, gpus in (
        (f"one machine, {cores} cores, no GPU", 1, 0),
        (f"one node, {cores} cores, 8 {H100.name}", 1, 8),
        ("100 such nodes", 100, 800),
    ):
        row = hours(costs, wanted, nodes, nodes * cores, gpus, share, said)
        print(f"{name:34}{costs.once * wanted / HOUR:8.1f}" + "".join(f"{value:>18}" for value in row))
    if plot:
        draw(Path(plot), costs, wanted, cores, share, said)


def hours(
    costs: Costs, wanted: float, nodes: int, cores: int, gpus: int, share: float, said: float
) -> list[str]:
    """Hours with templates and with each LM, for every pair and for what is said once."""
    told = [f"{total_hours(costs, wanted, cores, 0.0):,.1f}"]
    for lm in LMS:
        for left in (1.0, said):
            if gpus:
                decoding = wanted * left * gpu_seconds(lm, H100, share) / gpus
            elif lm is LMS[0] and costs.lm:
                decoding = wanted * left * costs.lm / cores
            else:
                told.append("–")
                continue
            told.append(f"{total_hours(costs, wanted, cores, decoding):,.1f}")
    return told


def total_hours(costs: Costs, wanted: float, cores: int, decoding: float) -> float:
    """What one process does once, what all cores share, and decoding, one after another."""
    return (costs.once * wanted + costs.pair * wanted / cores + decoding) / HOUR


def gpu_seconds(lm: Lm, gpu: Gpu, share: float) -> float:
    """Seconds of one GPU for one text: of what limits it, arithmetic, memory or the passes themselves."""
    multiplied = 2 * lm.parameters / (gpu.peak * share)
    moved = (2 * lm.parameters / ROWS + lm.cache * (READ + WRITTEN / 2)) / gpu.bandwidth
    return max(READ * multiplied + WRITTEN * max(multiplied, moved), WRITTEN * PASS / ROWS)


def measure(requests: int, decoded: int, repeated: int) -> Costs:
    """Costs on this machine; tells what templates word again."""
    with tempfile.TemporaryDirectory() as name:
        shop = Path(name, "shop")
        in_own_process(make_shop, shop)
        once, pair = in_own_process(templates, shop, requests)
        if repeated:
            in_own_process(worded_again, shop, repeated)
    item, step = memory()
    return Costs(once, pair, in_own_process(language_model, decoded) if decoded else 0.0, item, step)


def templates(shop: Path, count: int) -> tuple[float, float]:
    """Processor seconds a request that are spent once, and those of a pair with templates."""
    config = shop_config(shop)
    path = shop / "pairs.jsonl"
    path.write_text("".join(f'{{"user_id": "{u}", "item_id": "{i}"}}\n' for u, i in pairs(count)))
    config.generate.requests = str(path)
    catalogue = read_catalogue(config.path("catalogue"))
    behaviours = Behaviours(catalogue)
    keys = Keys(catalogue.items, EvidenceStore.open(config.path("evidence")))
    job = Job(config.path("generate", "costs"))

    def prepare() -> Outlook:
        return job.prepare(lambda: keys.keyed(read_requests(config, catalogue, behaviours), behaviours))

    prepare()  # reads facts, which is not of a request
    began = time.process_time()
    outlook = prepare()
    prepared = time.process_time() - began
    reasoner = Reasoner.from_pretrained(config.path(), items=catalogue.items, writers=["template", "extract"])
    warm = [behaviours.pair(each) for each in islice(read_requests(config, catalogue, behaviours), 200)]
    list(reasoner.explain_many(warm))
    began = time.process_time()
    job.run(outlook, behaviours.pair, lambda: lambda some: list(reasoner.explain_many(some)))
    written = time.process_time() - began
    began = time.process_time()
    index.update(config.path())
    return (prepared + time.process_time() - began) / count, written / count


def worded_again(shop: Path, count: int) -> None:
    """Tell how long templates and extracts word, and how long what was worded before, for 500 items and 2,000 users."""
    config, rng = shop_config(shop), random.Random(0)
    catalogue = read_catalogue(config.path("catalogue"))
    behaviours, some = Behaviours(catalogue), sorted(catalogue.items)[:500]
    of_users, of_items = weights(2000, ACTIVITY), weights(len(some), POPULARITY)
    drawn: dict[Asked, None] = {}
    while len(drawn) < count:
        [user] = rng.choices(range(2000), cum_weights=of_users)
        [item] = rng.choices(some, cum_weights=of_items)
        drawn[Asked(f"u{user}", item)] = None
    reasoner = Reasoner.from_pretrained(config.path(), items=catalogue.items, writers=["template", "extract"])
    again, timed = Timed(), [behaviours.pair(asked) for asked in drawn]
    list(reasoner.explain_many(timed[:200]))
    began = time.perf_counter()
    list(reasoner.explain_many(timed))
    whole = time.perf_counter() - began
    writers = {name: again.of(name, write) for name, write in reasoner.ladder.writers.items()}
    reasoner.ladder = replace(reasoner.ladder, writers=writers)
    list(reasoner.explain_many(timed))
    print(
        f"templates and extracts: {again.calls:,} plans of {count:,} pairs worded, "
        f"{1e6 * again.seconds / again.calls:,.0f} µs each, {again.seconds / whole:.1%} of all time; worded before: "
        f"{again.repeated / again.calls:.0%} of them, {again.seconds_repeated / whole:.1%} of all time"
    )
    kept = WordedPlans(shop / "worded.sqlite")
    kept.add(
        {f"plan {n}": (Worded("You often buy wool, and this throw is wool.", -0.5),) for n in range(count)}
    )
    began = time.perf_counter()
    WordedPlans(shop / "worded.sqlite").find(f"plan {n}" for n in range(count))
    print(f"a kept text is read in {1e6 * (time.perf_counter() - began) / count:,.0f} µs")


@dataclass
class Timed:
    """How long writers took, and how long for what they had said before: same item, facts, tie and seed."""

    calls: int = 0
    repeated: int = 0
    seconds: float = 0.0
    seconds_repeated: float = 0.0
    seen: set[Hashable] = field(default_factory=set)

    def of(self, name: str, writer: Writer) -> Writer:
        """The writer, timed."""

        def write(plan: Plan, case: Case, seed: int = 0) -> list[Candidate]:
            began = time.perf_counter()
            said = list(writer(plan, case, seed))
            took = time.perf_counter() - began
            tie = plan.tie and (plan.tie.kind, plan.tie.item_ids, plan.tie.taste and plan.tie.taste.often)
            key = (name, case.item.id, plan.facts, tie, seed)
            self.calls, self.seconds = self.calls + 1, self.seconds + took
            if key in self.seen:
                self.repeated, self.seconds_repeated = self.repeated + 1, self.seconds_repeated + took
            self.seen.add(key)
            return said

        return write


def memory(count: int = 100_000) -> tuple[float, float]:
    """Bytes that an item of the made shop and an interaction hold in every process of a job."""
    held = []
    with tempfile.TemporaryDirectory() as name:
        for items, steps in ((1, 0), (count, 0), (count, count)):
            folder = Path(name, f"{items}-{steps}")
            in_own_process(write_made, folder, items, steps)
            held.append(1e6 * in_own_process(read_made, folder))
    nothing, of_items, of_both = held
    return (of_items - nothing) / count, (of_both - of_items) / count


def write_made(folder: Path, items: int, steps: int) -> None:
    """A catalogue of items like those of the made shop, and of users with twenty steps each."""
    made = [
        Item(
            f"i{n}",
            f"Alva {THINGS[n % 6].title()} {n}",
            f"{FEATURES[n % 5].capitalize()}. {FEATURES[n // 5 % 5].capitalize()}, number {n}.",
            attributes={"color": [COLORS[n % 8]], "material": [MATERIALS[n % 6]], "type": [THINGS[n % 6]]},
            domain="shop",
        )
        for n in range(items)
    ]
    taken = [
        Interaction(f"u{n // 20}", f"i{n * 7 % items}", "purchase", timestamp=1e9 + n) for n in range(steps)
    ]
    write_catalogue(Catalogue({item.id: item for item in made}, taken, [], folder), folder)


def read_made(folder: Path) -> float:
    """What a catalogue that was read and its behaviours hold, in MB; reading it may take more for a moment."""
    resident = psutil.Process().memory_info
    before = resident().rss
    held = Behaviours(read_catalogue(folder))
    pa.default_memory_pool().release_unused()
    after = resident().rss
    del held
    return (after - before) / 1e6


def language_model(count: int) -> float:
    """Processor seconds of a text by the default LM."""
    from decoding import default_lm, make_engine, make_work

    lm, tokenizer = default_lm()
    engine, work = make_engine(lm, tokenizer), make_work(count, len(tokenizer) - 1000)
    list(engine.decode(row.request() for row in work[:2]))
    began = time.process_time()
    list(engine.decode(row.request() for row in work))
    seconds = (time.process_time() - began) / count
    tokens = sum(len(row.prompt) + row.length for row in work) / count
    print(
        f"default LM: {1e3 * seconds / tokens:.2f} ms a token read or written, {peak() / 1e3:.1f} GB in all"
    )
    return seconds


def draw(path: Path, costs: Costs, wanted: float, cores: int, share: float, said: float) -> None:
    """Hours by nodes of 8 GPUs, beside what they would be if all of it were shared."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "scale", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
    nodes = [1, 2, 4, 8, 16, 32, 64, 100]
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for lm, left, label in (
        (None, 0.0, "templates"),
        (LMS[0], 1.0, "135M, every pair"),
        (LMS[1], 1.0, "8B, every pair"),
        (LMS[1], said, "8B, said once"),
    ):
        each = gpu_seconds(lm, H100, share) * wanted * left / 8 if lm else 0.0
        total = [total_hours(costs, wanted, n * cores, each / n) for n in nodes]
        (line,) = axes.loglog(nodes, total, marker="o", label=label)
        axes.loglog(nodes, [total[0] / n for n in nodes], ":", color=line.get_color())
    axes.axhline(costs.once * wanted / HOUR, color="gray", linewidth=1)
    axes.set_xlabel(f"nodes of 8 {H100.name} and {cores} cores")
    axes.set_ylabel(f"hours for {wanted:,.0f} pairs")
    axes.set_title("dotted: linear; gray: what one process does once", fontsize=9)
    axes.set_xticks(nodes, [str(n) for n in nodes])
    axes.minorticks_off()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
