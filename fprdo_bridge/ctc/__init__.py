"""Comparisons under stated conditions: encode, decode, measure, BD-rate."""
