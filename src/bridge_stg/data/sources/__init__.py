"""Data sets as they are downloaded, one small file each; ``registry.py`` lists them."""
