"""Training a refiner on the person: pairs of renders and film, losses, the loop, and what it is judged by."""
