"""The reason model: fusion, projector and decoder LM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreason.checkpoint import load_into, load_tensors, save_tensors, weights_for, weights_named_in
from mmreason.config import PromptConfig, ReasonConfig
from mmreason.embed.model import MODALITIES
from mmreason.files import read_json, write_json
from mmreason.reason.batch import ReasonBatch
from mmreason.reason.fusion import Fusion
from mmreason.reason.lm import add_lora, embedding_scale, load_lm
from mmreason.reason.projector import Projector
from mmreason.schema import DataError
from mmreason.store.store import EmbeddingStore

WORD_TEMPERATURE = 0.05


def feature_sizes(store: EmbeddingStore) -> dict[str, int]:
    """Feature length per modality that a store has, and ``shared``, the length of a shared-space vector."""
    sizes = {m: store.dims[f"{m}_features"] for m in MODALITIES if f"{m}_features" in store.dims}
    return sizes | {"shared": store.dims["fused"]}


class ReasonModel(nn.Module):
    """Writes reasons from soft tokens, a text prompt, or both; or from a plan in words.

    Args:
        lm: Decoder LM with LoRA.
        dims: As :func:`feature_sizes` gives them.
        config: Sizes and inputs.
        candidates: Token ids that soft tokens are made of, see :meth:`soft_tokens`.
    """

    candidates: Tensor

    def __init__(
        self, lm: Any, dims: dict[str, int], config: ReasonConfig, candidates: Sequence[int]
    ) -> None:
        super().__init__()
        self.lm = lm
        self.dims = dims
        self.config = config
        self.register_buffer("candidates", torch.tensor(candidates, dtype=torch.long), persistent=False)
        embeddings = lm.get_input_embeddings().weight
        self.fusion = Fusion({m: dims[m] for m in MODALITIES if m in dims}, dims["shared"], config)
        rms = embeddings.float().pow(2).mean().sqrt().item() * embedding_scale(lm)
        self.projector = Projector(config.hidden_size, embeddings.shape[1], rms, config.dropout)

    @classmethod
    def create(
        cls, dims: dict[str, int], config: ReasonConfig, dtype: torch.dtype, candidates: Sequence[int] = ()
    ) -> ReasonModel:
        """A model to train: the pretrained LM with new LoRA, fusion and projector."""
        return cls(add_lora(load_lm(config.lm, dtype), config), dims, config, candidates)

    def set_stage(self, stage: str) -> None:
        """Choose what trains: ``projector`` (fusion and projector) or ``lora`` (these and LoRA)."""
        soft = self.config.has_soft_tokens
        for name, parameter in self.named_parameters():
            is_lora = "lora_" in name
            is_soft = name.startswith(("fusion.", "projector."))
            parameter.requires_grad_((is_soft and soft) or (is_lora and stage == "lora"))

    def forward(self, batch: ReasonBatch, warmup: bool = False) -> Tensor:
        """The loss of a batch: of the warm-up, else of the LM."""
        if warmup:
            return self.warmup_loss(batch)
        embeds, mask, positions = self.inputs(batch)
        causal = self.lm.get_base_model()
        with torch.autocast(embeds.device.type, torch.bfloat16, enabled=embeds.dtype == torch.bfloat16):
            hidden = causal.get_decoder()(
                inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
            ).last_hidden_state
            labels = batch.labels[:, 1:]
            labelled = (
                labels != -100
            )  # logits only where there is a label: the vocabulary is a fifth of the work
            logits = causal.get_output_embeddings()(hidden[:, :-1][labelled])
        return F.cross_entropy(logits.float(), labels[labelled])

    def warmup_loss(self, batch: ReasonBatch) -> Tensor:
        """Teach the soft tokens to be the evidence's words, without running the LM.

        The loss is the negative log of the probability of the evidence's words in the mean of the K soft
        tokens' distributions (see :meth:`soft_tokens`), so that the tokens may share the words among them.
        """
        log_p, _ = self._word_distribution(self._directions(batch), batch.prior)
        mixture = torch.logsumexp(log_p, dim=1) - math.log(log_p.shape[1])
        return -(batch.words * mixture).sum(1).mean()

    def soft_tokens(self, batch: ReasonBatch) -> Tensor:
        """What the LM reads of user and item, (B, K, hidden_size) float32.

        Each soft token is the expected embedding of a word under a distribution over the candidates, so that an
        untrained LM reads "red" as the word it knows, plus a learned share of the projector's own output for
        what no word says. The distribution is a softmax of the cosine between projector and embedding, leaning
        with a learned weight to the words that the evidence says item and history share.
        """
        directions = self._directions(batch)
        projected = self.projector.scale * directions
        if not len(self.candidates):
            return projected
        log_p, words = self._word_distribution(directions, batch.prior)
        return log_p.exp() @ words + self.projector.free * projected

    def _directions(self, batch: ReasonBatch) -> Tensor:
        assert batch.fusion is not None, f"inputs={self.config.inputs} has no soft tokens"
        return self.projector(self.fusion(batch.fusion))

    def _word_distribution(self, directions: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, C) log-probabilities of the candidates, and their embeddings (C, hidden_size)."""
        words = self.lm.get_input_embeddings()(self.candidates).float()
        cosine = F.normalize(directions, dim=-1) @ F.normalize(words, dim=-1).T
        logits = cosine / WORD_TEMPERATURE + self.projector.trust * prior[:, None]
        return F.log_softmax(logits, dim=-1), words

    def inputs(self, batch: ReasonBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Input embeddings (B, L, hidden_size), attention mask (B, L) and position ids (B, L).

        Prompts are padded on the left, so positions count from the first real token.
        """
        embeds = self.lm.get_input_embeddings()(batch.input_ids)
        if batch.fusion is not None:
            soft = self.soft_tokens(batch).to(embeds.dtype)
            embeds = embeds.masked_scatter(batch.soft_mask[..., None].expand_as(embeds), soft)
        mask = batch.attention_mask.long()
        return embeds, mask, (mask.cumsum(1) - 1).clamp_min(0)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json``, ``model.safetensors`` (fusion, projector) and ``adapter/`` (LoRA, PEFT format)."""
        folder = Path(folder)
        soft = {
            f"{part}.{name}": tensor
            for part in ("fusion", "projector")
            for name, tensor in getattr(self, part).state_dict().items()
        }
        save_tensors(folder / "model.safetensors", soft)
        for adapter in self.lm.peft_config.values():
            adapter.target_modules = sorted(adapter.target_modules)  # a set's order differs from run to run
        self.lm.save_pretrained(folder / "adapter", safe_serialization=True)
        write_json(
            folder / "config.json",
            {
                "type": "reason",
                "dims": self.dims,
                "config": {**asdict(self.config), "lm": weights_for(folder, self.config.lm)},
                "candidates": self.candidates.tolist(),
            },
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype, merge: bool = True) -> ReasonModel:
        """Read what :meth:`save_pretrained` wrote.

        Args:
            folder: A local checkpoint.
            dtype: Of the LM's weights.
            merge: Add LoRA into the LM's weights: faster, and no longer trainable.

        Raises:
            DataError: If a file is missing or of another shape.
        """
        from peft import PeftModel

        folder = Path(folder)
        saved = read_json(folder / "config.json")
        config = ReasonConfig(**{**saved["config"], "prompt": PromptConfig(**saved["config"]["prompt"])})
        config.lm = weights_named_in(folder, config.lm)
        if not (folder / "adapter" / "adapter_model.safetensors").is_file():
            raise DataError(
                f"{folder}/adapter/adapter_model.safetensors: no such file; pickled adapters are not loaded"
            )
        lm: Any = PeftModel.from_pretrained(
            load_lm(config.lm, torch.float32 if merge else dtype), str(folder / "adapter")
        )
        lm = lm.merge_and_unload().to(dtype) if merge else lm
        model = cls(lm, saved["dims"], config, saved["candidates"])
        needed = [n for n in model.state_dict() if n.startswith(("fusion.", "projector."))]
        load_into(model, load_tensors(folder / "model.safetensors"), folder / "model.safetensors", needed)
        return model.requires_grad_(False).eval()
