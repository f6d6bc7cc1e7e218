"""What a soft prompt does beyond the loss that it was searched for."""
