"""What every training shares: schedule, checkpoints, devices, FSDP."""
