"""Readings that outgrow one machine: many pages from any store, into one data set, by workers on many machines."""
