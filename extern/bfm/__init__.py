"""The Basel Face Model 2009 that the user brings: face meshes from the coefficients of a tracking file."""

from being.extern.bfm.model import FaceModel, load_face_model

__all__ = ["FaceModel", "load_face_model"]
