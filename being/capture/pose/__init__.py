"""Head pose and head shape from landmarks and points."""
