"""Reading the film and choosing the crop."""
