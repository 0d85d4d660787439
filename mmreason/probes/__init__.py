"""Probes: which attributes the features of a frozen tower tell, and what they tell; basic colour terms."""
