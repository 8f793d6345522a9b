"""The only place that reads or writes message fields, parameters and quality of service."""
