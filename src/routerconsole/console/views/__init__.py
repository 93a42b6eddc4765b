"""The views: what each pane shows, where its cursor is and what a key does there. No Textual here."""
