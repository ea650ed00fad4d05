"""Layer by layer: sensitivity, second moments, gradients, and what each layer is given."""
