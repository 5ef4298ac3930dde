"""Mutation testing of the modules without I/O: small changes of the code, each of which a test must notice.

A program of our own, since none of the known ones fits: mutmut changes nothing outside functions, so no table
of a state machine, and tries no sample; Cosmic Ray starts an interpreter for each change, in the work tree;
mutatest is no longer maintained.
"""
