"""How upstreams are spoken to: dialects, one sender, one transport, stream parsers. Decides nothing about routing."""
