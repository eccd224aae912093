"""The data doctor: what is wrong with a data set, record by record and file by file."""
