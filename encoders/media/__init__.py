"""Media: picture and video files, as people have them, to upright RGB pixels; no models."""
