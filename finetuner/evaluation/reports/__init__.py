"""A page that shows what two evaluations of the same queries say of each other."""
