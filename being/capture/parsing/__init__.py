"""Which pixel is what: hair, face, torso, background."""
