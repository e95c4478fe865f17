"""Bridges to systems Being does not own: each folder reads one system's files, and holds none of its code."""
