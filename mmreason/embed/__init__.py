"""Items to vectors: the alignment model's heads, the Embedder, the bulk job, search, the Hub."""
