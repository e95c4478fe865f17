"""What is behind the person: whether the camera moves or zooms, and the plate."""
