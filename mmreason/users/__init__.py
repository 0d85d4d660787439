"""The user tower: what a history says a user takes next."""
