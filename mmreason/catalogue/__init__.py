"""Rows in: checks, behaviours, splits, hidden attributes and downloads; the tables on disk."""
