"""Readers of public data sets and of folders, one file each; what they read is stated in docs/data.md."""
