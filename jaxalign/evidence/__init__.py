"""What a result is worth: baselines, robustness, and statistics."""
