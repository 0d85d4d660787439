"""One shared space for pictures, videos and texts."""
