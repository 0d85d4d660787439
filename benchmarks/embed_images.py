"""Pictures a second from JPEG files on disk to vectors on disk, against OpenCLIP's and timm's own loops.

python benchmarks/embed_images.py --data ../shared/data/magento --images 1000

The peers run as their documentation says: their own transform in a DataLoader with a worker a core, batches of 32,
fp32, no gradients; same files, same weights (random ones of the ViT). Ours is ``mmreason embed`` as it is, with
``embed.int8`` where this CPU multiplies bf16 no faster than fp32.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from bars import Bars
from bulk import account, bulk, cosine, file_items, flops, int8_pays, peaks
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from encoders import create_encoder
from mmreason.config import EmbedConfig


class Files(Dataset):
    """Pictures through a peer's transform."""

    def __init__(self, paths: list[Path], transform: Callable[[Any], Any]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def peer_openclip(encoder: Any) -> tuple[Any, Any]:
    """OpenCLIP's model with our weights, and its own evaluation transform."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    model.visual.load_state_dict(encoder.tower.state_dict())
    return model.eval().encode_image, transform


def peer_timm(encoder: Any) -> tuple[Any, Any]:
    """timm's model with our weights, and its own evaluation transform."""
    import timm

    model = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    model.load_state_dict(encoder.tower.state_dict())
    return model, timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)


def run_peer(model: Any, transform: Any, paths: list[Path]) -> tuple[float, torch.Tensor]:
    """Seconds and features."""
    started = time.perf_counter()
    loader = DataLoader(Files(paths, transform), batch_size=32, num_workers=torch.get_num_threads())
    with torch.no_grad():
        features = torch.cat([model(batch).float() for batch in loader])
    return time.perf_counter() - started, features


def compare(
    spec: str,
    weights: str,
    make_peer: Callable,
    paths: list[Path],
    bar: float,
    bars: Bars,
    top: dict[str, float],
) -> None:
    """One model: the peer, our exact path on a few files, our fast path on all."""
    torch.manual_seed(0)
    encoder = create_encoder(spec, weights)
    model, transform = make_peer(encoder)
    work = flops(encoder, torch.zeros(1, 3, 224, 224, dtype=torch.uint8)) * len(paths)
    exact, fast = copy.deepcopy(encoder), encoder
    few = paths[:32]
    # Draft decoding is a part of the fast path; here the same pixels go to both, so only the model differs.
    inputs = torch.stack([transform(Image.open(path).convert("RGB")) for path in few])
    config = exact.preprocessing
    pixels = inputs * torch.tensor(config.std)[:, None, None] + torch.tensor(config.mean)[:, None, None]
    with torch.no_grad():
        bars.check(f"{spec} fp32 cosine to the peer", cosine(exact(pixels), model(inputs)), 0.999, form=".5f")
    int8 = int8_pays()
    settings = EmbedConfig(int8=int8)
    with tempfile.TemporaryDirectory() as folder:
        bulk(fast, file_items(few), len(few), Path(folder, "warm"), settings)  # starts the fork server
        run_peer(model, transform, few)
        seconds, features = run_peer(model, transform, paths)
        ours = bulk(fast, file_items(paths), len(paths), Path(folder, "store"), settings)
        vectors = torch.from_numpy(ours.store.get("image_features"))
    bars.check(f"{spec} fast path cosine to the peer", cosine(vectors, features), 0.99, form=".5f")
    account(spec, ours, work, top)
    print(f"{spec}: peer {len(paths) / seconds:.1f} images/s, ours {len(paths) / ours.seconds:.1f} ({int8=})")
    bars.check(f"{spec} ratio", seconds / ours.seconds, bar, form=".2f")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--data", type=Path, default=Path("../shared/data/magento"))
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--model", choices=("both", "vit", "lite0"), default="both")
    options = arguments.parse_args()
    files = sorted(options.data.rglob("*.jpg"))
    if not files:
        arguments.error(f"{options.data}: no JPEG files; give --data")
    paths = list(islice(cycle(files), options.images))
    bars, top = Bars("embed_images"), peaks()
    print("peak: " + ", ".join(f"{name} {value:.0f} Gflop/s" for name, value in top.items()))
    if options.model != "lite0":
        compare("openclip:ViT-B-32", "", peer_openclip, paths, 2.0, bars, top)
    if options.model != "vit":
        compare("timm:tf_efficientnet_lite0", "wheel:efficientnet-lite0", peer_timm, paths, 3.0, bars, top)
    bars.finish()


if __name__ == "__main__":
    main()
