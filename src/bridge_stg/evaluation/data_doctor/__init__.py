"""The doctor's page: what was found about a data set, with pictures."""
