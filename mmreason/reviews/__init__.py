"""What reviews say: sentences, aspects, and who is praised or blamed for what, English and Chinese."""
