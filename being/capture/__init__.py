"""From anyone's video of a person to a talking-portrait dataset folder."""
