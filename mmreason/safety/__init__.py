"""What catalogue text may not bring in, and what may not be told of a person: terms by kind, and how they are found."""
