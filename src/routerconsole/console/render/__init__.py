"""View → cells: pure functions from frozen views to styled lines; nothing here knows a widget, a clock or the port."""
