"""Accelerators: mesh, processes, memory, compiled programs and traces."""
