"""One module for each family of losses: its CASES for `test_values`, and the oracles, in plain loops."""
