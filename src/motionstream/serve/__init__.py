"""The studio's server: one engine, one compute thread, a WebSocket per visitor (docs/protocol.md, docs/serving.md)."""
