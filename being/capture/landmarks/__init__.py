"""Face landmarks, and what is measured on them."""
