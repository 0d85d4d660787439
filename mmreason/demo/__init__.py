"""The quickstart's own catalogue: pictures, clips and texts made on the spot."""
