"""Held-out frames, lip sync, novel speech: how good the avatar is."""
