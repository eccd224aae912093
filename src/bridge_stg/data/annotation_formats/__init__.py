"""Tubes in the files of annotation tools: one file per format, which reads it and writes it."""
