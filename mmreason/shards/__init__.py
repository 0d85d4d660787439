"""Catalogue to WebDataset shards with a manifest, and the resumable loader."""
