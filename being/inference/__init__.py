"""From drives to pictures: the engine, motion, and what stands behind the avatar."""
