"""Every memory model of the papers, behind one interface."""
