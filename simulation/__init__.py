"""Whole systems of production shells in one process: memory ports, virtual time, one seed."""
