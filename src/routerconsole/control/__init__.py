"""The two ports of the engine: Chat (data plane) and Control (operator plane)."""
