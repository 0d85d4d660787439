"""Decodes prompts with any causal LM, many at a time: refilled slots, shared prefills, words that must come or not."""
