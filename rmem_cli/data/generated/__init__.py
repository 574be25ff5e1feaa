"""Rows that are drawn instead of read: those of the generated data sets, for tasks as for `rmem fetch`."""
