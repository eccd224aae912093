"""Shapes: a generated world of moving shapes, for demos, tests and training from scratch."""
