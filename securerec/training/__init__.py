"""Local training of a cohort: clients are a batch dimension, a device is a cohort of one."""
