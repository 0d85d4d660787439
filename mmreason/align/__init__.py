"""Contrastive training of the shared space."""
