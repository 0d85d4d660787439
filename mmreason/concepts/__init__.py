"""Over the whole catalogue: which facts are worth saying, which mean the same, what goes together; the stage."""
