"""Evaluations: scenarios, pure graders, honest statistics and reports; never imports the engine."""
