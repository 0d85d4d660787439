"""From user and item to soft tokens in a decoder LM."""
