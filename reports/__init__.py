"""What comes out: records, the report document, its HTML. Never imports torch."""
