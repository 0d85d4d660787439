"""Texts to learn from: simulated shoppers, their grammar, reasons mined from reviews."""
