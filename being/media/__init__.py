"""Pictures and sound to and from bytes: reading what people film and record, on its own clock."""
