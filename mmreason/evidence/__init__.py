"""What is true of an item or shown by a history: claims in a text, what a picture shows."""
