"""Many inputs: which there are, where results go, what is done already, and the run on one process or several."""
