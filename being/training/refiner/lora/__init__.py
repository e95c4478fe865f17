"""A LoRA of a diffusion model for one person, trained on what the avatar renders beside what was filmed."""
