"""Measuring a recogniser: error rates, their intervals, comparisons and the report."""
