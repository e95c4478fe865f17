"""Being: a person cloned from a short video, played live. See DESIGN in the documentation for the words used here."""

__version__ = "0.1.0"
