"""Reasons out of reviews, English and Chinese."""
