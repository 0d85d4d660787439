"""Writing reasons: batched decoding, verification, the resumable bulk job."""
