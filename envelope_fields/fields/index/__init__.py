"""Blind indexes: columns of MACs beside encrypted ones, by which these are found."""
