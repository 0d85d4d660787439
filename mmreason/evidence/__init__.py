"""What is true of an item or shown by a history: facts, phrases, tastes, claims in a text, what a picture shows."""
