"""The one interpreter: acts on what routing decides, owns upstream calls, tasks, time and what is recorded."""
