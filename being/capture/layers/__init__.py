"""Background plate, torso and head apart."""
