"""Verification: every word of a reason is bound to evidence, or is glue that claims nothing."""

from mmreason.generate.verify.mentions import Shown, verify
from mmreason.generate.verify.verdict import Claimed, Rejection, Verdict
from mmreason.generate.verify.verifier import Verifier

__all__ = ["Claimed", "Rejection", "Shown", "Verdict", "Verifier", "verify"]
