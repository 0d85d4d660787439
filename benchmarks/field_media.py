"""The cases of the field that are about pictures, videos, weights and vectors; ``field.py`` runs them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_folders import bert_tokenizer, make, tokenizer
from tiny_models import make_tiny_models, tiny_config
from weights_folders import BAR, TEXTS, compare, pictures

from encoders import MediaError, WeightsError, create_encoder
from encoders.digest import weights_digest
from encoders.media.frames import sample_frames
from encoders.media.pictures import open_image
from mmreason.embed.embedder import Embedder
from mmreason.pipeline import run_verb
from mmreason.schema import DataError, Item
from mmreason.store.nearest import Nearest
from mmreason.store.store import EmbeddingStore, StoreWriter

CASES: dict[str, Callable[[Any], None]] = {}


def case(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """A case of the list."""
    CASES[function.__name__] = function
    return function


@cache
def tiny_run() -> Path:
    """A finished run of seconds with random models; cases copy what they change."""
    folder = Path(tempfile.mkdtemp())
    config = tiny_config(make_tiny_models(folder / "models"))
    config.run_dir = str(folder / "run")
    for verb in ("ingest", "simulate", "pack", "align", "embed"):
        run_verb(verb, config)
    return folder / "run"


@cache
def embedder() -> Embedder:
    """The embedder of the tiny run."""
    return Embedder.from_pretrained(tiny_run() / "align", device="cpu", dtype="fp32")


def refused(error: type[Exception], call: Callable[[], Any], *words: str) -> None:
    """The call fails with this error, in one line that holds the words."""
    try:
        call()
    except error as raised:
        said = str(raised)
        assert "\n" not in said and all(word in said for word in words), said
    else:
        raise AssertionError(f"no {error.__name__}")


def same(image: Any, like: Any, within: float = 12) -> None:
    """Two pictures agree but for their compression."""
    one, other = (np.asarray(x, np.int16) for x in (image, like))
    assert one.shape == other.shape and np.abs(one - other).mean() < within, (one.shape, other.shape)


@case
def n01_shared_image_object(field: Any) -> None:
    """One lazily opened picture in many items gives the right vector each time."""
    data = BytesIO()
    pictures()[0].resize((900, 700)).save(data, "JPEG")
    right = embedder().encode([data.getvalue()])
    for _ in range(5):
        shared = Image.open(BytesIO(data.getvalue()))
        found = embedder().encode([Item(id=str(i), images=[shared]) for i in range(8)])
        np.testing.assert_allclose(found, np.repeat(right, 8, axis=0), atol=0.02)


@case
def n02_openclip_repo_with_both_files(field: Any) -> None:
    """OpenCLIP's file is read."""
    assert min(compare("laion", make("laion", field.work / "laion")).values()) >= BAR


@case
def n03_weights_replaced_in_place(field: Any) -> None:
    """A replaced file has another digest."""
    folder = make("gte", field.work / "gte")
    before = weights_digest(str(folder))
    shutil.rmtree(folder)
    assert weights_digest(str(make("bge", folder))) != before


@case
def n04_text_folder_without_tokenizer(field: Any) -> None:
    """No tokenizer is an error."""
    folder = make("bge", field.work / "bge")
    for path in [*folder.glob("*token*"), *folder.glob("vocab*")]:
        path.unlink()
    refused(WeightsError, lambda: create_encoder("hf-text:x", str(folder)), "tokenizer", str(folder))


@case
def n05_pooling_of_the_folder(field: Any) -> None:
    """Class token, last token, dense layers and normalisation as the folder says."""
    for name in ("bge", "qwen3", "dense"):
        assert min(compare(name, make(name, field.work / name)).values()) >= BAR


@case
def n06_openclip_config_of_the_folder(field: Any) -> None:
    """QuickGELU and preprocessing, of a folder and beside a single file."""
    folder = make("openai", field.work / "openai")
    assert min(compare("openai", folder).values()) >= BAR
    whole, single = (
        create_encoder("openclip:ViT-B-32", str(path))
        for path in (folder, folder / "open_clip_model.safetensors")
    )
    assert torch.equal(whole.encode(pictures()), single.encode(pictures()))


@case
def n07_rotated_photo_with_an_odd_exif_tag(field: Any) -> None:
    """The upright picture."""
    paths = sorted((field.data / "07-rotated-photo-with-an-odd-exif-tag").glob("*.jpg"))
    assert len(paths) == 5 and all(open_image(path).size == (64, 96) for path in paths)


@case
def n08_png_with_large_or_short_metadata(field: Any) -> None:
    """The pixels, at ingest and by the encoder, and a count of flaws."""
    folder = field.data / "08-png-with-large-or-short-metadata"
    paths = sorted(folder.glob("*.png"))
    assert len(paths) == 5
    for path in paths:
        same(open_image(path), open_image(paths[0]))
    catalogue = _ingest(field, paths)
    assert len(catalogue.items["a"].images) == 5 and "5 pictures have flaws" in field.said


@case
def n09_ingest_reads_what_encode_reads(field: Any) -> None:
    """AVIF, JPEG 2000, PPM and ICO."""
    paths = sorted((field.data / "09-ingest-refuses-avif").glob("p.*"))
    assert len(_ingest(field, paths).items["a"].images) == 4
    assert embedder().encode([str(path) for path in paths]).shape[0] == 4


@case
def n10_slideshow(field: Any) -> None:
    """Pictures that stay are shown; a file that is cut is not."""
    for path in sorted((field.data / "10-slideshow-said-to-be-cut-short").glob("*.*m*")):
        if path.suffix != ".md":
            assert len(sample_frames(path, 6)) == 6
            refused(MediaError, lambda cut=path: sample_frames(cut.read_bytes()[:-40], 6), "cut short")


@case
def n11_trimmed_mp4(field: Any) -> None:
    """Only what the edit list shows."""
    for path in (field.data / "11-trimmed-mp4-edit-list").glob("*.mp4"):
        levels = [round(float(frame[48:].mean()) / 32) for frame in sample_frames(path, 8)]
        assert levels == [5, 6, 4, 5, 4, 5, 4, 5], levels  # of frames 91, 95, 99 …


@case
def n14_search_a_modality_that_few_have(field: Any) -> None:
    """Items without it take no part."""
    vectors = np.array([[-1, 0], [0, 0], [0, 0]], np.float32)
    writer = StoreWriter(field.work / "store", {"model": "x"})
    masks = {"text": np.ones(3, bool), "video": np.array([True, False, False])}
    writer.write_part(["a", "b", "c"], ["1", "2", "3"], {"video": vectors, "text": vectors}, masks)
    nearest = Nearest(EmbeddingStore.open(field.work / "store"), "video")
    assert nearest.search(np.array([[1, 0]], np.float32), 3) == [[("a", -1.0)]]


@case
def n15_fields_of_a_wrong_type(field: Any) -> None:
    """Right vectors, or one line that names item and field."""
    photo = str(field.data / "15-fields-of-a-wrong-type" / "l.jpg")
    wool = embedder().encode([Item(id="a", title="Coat", attributes={"material": ["wool"]})])
    loose: dict[str, Any] = {"id": "a", "title": "Coat", "attributes": {"material": "wool"}}
    np.testing.assert_allclose(embedder().encode([loose]), wool, atol=1e-5)
    single = embedder().encode([{"images": photo, "title": float("nan"), "text": None}])
    np.testing.assert_allclose(single, embedder().encode([Path(photo)]), atol=1e-5)
    for raw in (None, float("nan"), {"title": None}, {"images": []}):
        refused(DataError, lambda raw=raw: embedder().encode(["x", raw]), "input 1")
    refused(
        MediaError, lambda: embedder().encode([Item(id="e", images=[np.zeros((0, 0, 3), np.uint8)])]), "'e'"
    )
    refused(DataError, lambda: embedder().encode(["x"], batch_size="many"), "batch_size")  # type: ignore[arg-type]


@case
def n21_path_of_an_unlisted_ending(field: Any) -> None:
    """A file that is there is a file."""
    folder = field.data / "21-path-of-an-unlisted-ending-is-a-text"
    for name, kind in (("photo.jfif", "image"), ("clip.mts", "video")):
        bare = field.work / "noending"
        shutil.copyfile(folder / name, bare)
        for raw in (str(folder / name), folder / name, str(bare), bare.read_bytes()):
            assert embedder().embed([_item(raw)])[1][kind].all()


@case
def n22_embedder_after_a_device_that_is_not_there(field: Any) -> None:
    """One clear error, and a working embedder."""
    before = embedder().encode(["red hoodie"])
    if torch.cuda.is_available():
        return
    for device in ("cuda", "cuda:0", "gpu"):
        refused(DataError, lambda device=device: embedder().encode(["red hoodie"], device=device), "device")
        assert np.array_equal(embedder().encode(["red hoodie"]), before)


@case
def n24_variable_frame_rate(field: Any) -> None:
    """Segments of equal duration."""
    frames = sample_frames(field.data / "24-variable-frame-rate" / "vfr.mp4", 8)
    assert len({frame.tobytes() for frame in frames}) == 2 and np.array_equal(frames[3], frames[0])


@case
def n25_jpeg_without_its_end_marker(field: Any) -> None:
    """The picture; but one that is really cut stays an error."""
    for path in sorted((field.data / "25-jpeg-without-its-last-two-bytes").glob("*.jpg")):
        data = path.read_bytes()
        same(open_image(path), open_image(data + b"\xff\xd9"), within=0.01)
        for share in (0.3, 0.6, 0.95):
            cut = data[: round(share * len(data))]
            refused(MediaError, lambda cut=cut: open_image(cut), "cannot read picture")


@case
def n26_search_arguments(field: Any) -> None:
    """One line each."""
    for arguments in (("--top_k", "0"), ("--array", "image_features"), ("--array", "sound")):
        said = field.run("search", "red", "--run_dir", tiny_run(), *arguments).strip().splitlines()
        assert len(said) == 1 and arguments[0][2:] in said[0], said


@case
def n28_cut_faiss_file(field: Any) -> None:
    """Built anew."""
    folder = field.work / "embed"
    shutil.copytree(tiny_run() / "embed", folder)
    shutil.copytree(tiny_run() / "features", field.work / "features")
    store = EmbeddingStore.open(folder)
    query = store.get("fused", [0])
    before = Nearest(store, exact=0).search(query, 3)
    index = folder / "nearest-fused.faiss"
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
    assert Nearest(store, exact=0).search(query, 3) == before
    array = next(folder.glob("part-*/fused.npy"))
    damaged = bytearray(array.read_bytes())
    damaged[-8] ^= 64
    array.write_bytes(damaged)
    refused(DataError, lambda: EmbeddingStore.open(folder).get("fused"), "fused.npy", "damaged")


@case
def n29_models_whose_positions_do_not_all_count(field: Any) -> None:
    """RoBERTa, a model without a limit, CLIP as a text encoder, and a tokenizer of another model."""
    roberta = create_encoder("hf-text:x", str(make("e5", field.work / "e5")), max_length=1024)
    assert roberta.encode(["red " * 900]).isfinite().all()
    from transformers import XLNetConfig, XLNetModel

    XLNetModel(XLNetConfig(vocab_size=32, d_model=32, n_layer=1, n_head=2, d_inner=64)).save_pretrained(
        field.work / "xlnet"
    )
    tokenizer("[PAD]", end="[SEP]").save_pretrained(field.work / "xlnet")
    xlnet = create_encoder("hf-text:x", str(field.work / "xlnet"), max_length=1024)
    assert xlnet.encode(TEXTS).isfinite().all()
    assert compare("clip", make("clip", field.work / "clip"))["text"] >= BAR
    other = make("gte", field.work / "gte")
    larger = bert_tokenizer()
    larger.add_tokens([f"word{i}" for i in range(40)])
    larger.save_pretrained(other)
    refused(WeightsError, lambda: create_encoder("hf-text:x", str(other)), "words")


@case
def n30_quarantine_names_files(field: Any) -> None:
    """Not ``<10773 bytes>``."""
    good = field.work / "good.jpg"
    pictures()[0].save(good)
    for name in ("one.jpg", "two.jpg"):
        (field.work / name).write_bytes(good.read_bytes()[:-300])
    _ingest(field, [good, field.work / "one.jpg", field.work / "two.jpg"])
    shutil.copytree(tiny_run() / "align", field.work / "run" / "align")
    settings = ("--device", "cpu", "--dtype", "fp32", "--embed.source")
    for source in ("catalogue", "shards"):
        if source == "shards":
            field.run("pack", "--run_dir", field.work / "run")
        shutil.rmtree(field.work / "run" / "embed", ignore_errors=True)
        said = field.run("embed", "--run_dir", field.work / "run", *settings, source)
        lines = (field.work / "run" / "embed" / "quarantine.jsonl").read_text().splitlines()
        reasons = sorted(json.loads(line)["reason"] for line in lines)
        assert [reason.partition(":")[0] for reason in reasons] == ["one.jpg", "two.jpg"], (said, reasons)


@case
def n31_containers_that_are_not_on_the_list(field: Any) -> None:
    """Frames, at ingest and by the encoder, from files and from bytes."""
    paths = sorted(
        p for p in (field.data / "31-containers-that-are-not-on-the-list").iterdir() if p.suffix != ".md"
    )
    for path in paths:
        assert len(sample_frames(path, 4)) == len(sample_frames(path.read_bytes(), 4)) == 4
        if path.suffix != ".gif":
            assert _item(path.read_bytes()).video is not None
    for number, path in enumerate(paths):
        assert _ingest(field, [], path, f"run{number}").items["a"].video == path.name
    refused(
        MediaError, lambda: sample_frames(b".RMF" + bytes(999)), "RealMedia is not read; convert it to MP4"
    )


@case
def n32_colours_and_transparency(field: Any) -> None:
    """White behind what is transparent, HDR white is white, profiles and pixel aspect are honoured."""
    folder = field.data / "32-colours-and-transparency"
    assert sample_frames(folder / "clear.mov", 1).min() >= 250
    assert sample_frames(folder / "hdr10_white.mp4", 1).min() >= 235
    assert sample_frames(folder / "sar2.mp4", 1).shape == (1, 96, 320, 3)
    assert open_image(folder / "icc_swapped.png").getpixel((5, 5)) == (0, 0, 255)


def _item(raw: Any) -> Item:
    from mmreason.embed.inputs import as_item

    return as_item(raw, "x")


def _ingest(field: Any, images: list[Path], video: Path | None = None, run_dir: str = "run") -> Any:
    """A catalogue of one item with these media."""
    from mmreason.catalogue.catalogue import read_catalogue

    shop = field.work / f"shop-{run_dir}"
    shop.mkdir()
    for path in [*images, *([video] if video else [])]:
        shutil.copyfile(path, shop / path.name)
    row = {
        "id": "a",
        "title": "Coat",
        "images": [path.name for path in images],
        "video": video.name if video else "",
    }
    (shop / "items.jsonl").write_text(json.dumps(row) + "\n")
    field.run("ingest", shop, "--run_dir", field.work / run_dir)
    return read_catalogue(field.work / run_dir / "catalogue")
