"""What outlives the process: the state directory, state.db and log.db. Knows no engine and no clock."""
