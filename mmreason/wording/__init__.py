"""Plans to words: grammar files by language and domain, and the catalogue's own clauses. No training, no model."""
