"""Expressivity: what a network of given width can approximate, by construction, by measurement, by theorem."""
