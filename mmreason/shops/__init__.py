"""A shop's folder: its exports and tables, which of their columns is what, and by which ids they join."""
