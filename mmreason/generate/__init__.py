"""Writing reasons: batched decoding, verification, the stage that writes in bulk."""
