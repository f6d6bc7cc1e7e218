"""One run: its folder, its files, its lifetime, and what it leaves."""
