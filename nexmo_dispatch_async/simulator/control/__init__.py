"""The control API and the page: look at the simulator, move its clock, take a handset."""
