"""The recurrences in C++: sources, and how they are built and loaded."""
