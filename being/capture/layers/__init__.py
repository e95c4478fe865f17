"""Torso and head apart, and the person cut out."""
