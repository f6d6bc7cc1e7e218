"""Search methods beside each other: methods × countries × seeds."""
