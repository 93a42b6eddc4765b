"""The HTTP faces: /v1 for programs, /api/v1 for operators. Knows the two ports, nothing behind them."""
