"""Catalogues in: readers, checks, simulated shoppers, shards, the loader and the embedding store."""
