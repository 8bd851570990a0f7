"""Many runs of one kind: cells that are measured once, kept in a folder and never measured again."""
